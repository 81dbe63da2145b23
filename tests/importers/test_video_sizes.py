from __future__ import annotations

from cases import Video, moving_square

from conftest import write_video
from vaclip.commands.imports import import_parser
from vaclip.importers.video_sizes import VideoSizes


def sizes(*words):
    return VideoSizes(import_parser().parse_args(["table", "t.csv", *map(str, words)]))


def test_videos_are_found_in_the_study_and_in_the_table_that_comes_first(tmp_path):
    study, videos = tmp_path / "study", tmp_path / "videos"
    write_video(study / "videos/old.mkv", moving_square(Video(frames=2, size=(24, 32))))
    write_video(videos / "new.mkv", moving_square(Video(frames=2, size=(48, 64))))
    (study / "clips.csv").write_text("clip_id,video,patient_id,label\no,videos/old.mkv,1,x\n")
    (tmp_path / "t.csv").write_text("video,patient_id,label\nnew.mkv,2,y\n")
    found = sizes("--into", study, "--clips", tmp_path / "t.csv", "--videos", videos)
    assert found.find("old.mkv") == (24, 32)
    assert found.find("new.mkv") == (48, 64)
    assert found.find("other.mkv") is None


def test_a_video_that_lies_in_the_study_is_one_video(tmp_path):
    """The table names it, the study has it: by the same path, so that its name is not ambiguous."""
    write_video(tmp_path / "raw/a.mkv", moving_square(Video(frames=2, size=(24, 32))))
    (tmp_path / "clips.csv").write_text("clip_id,video,patient_id,label\na,raw/a.mkv,1,x\n")
    (tmp_path / "t.csv").write_text("video,patient_id,label\na.mkv,1,x\n")
    found = sizes("--into", tmp_path, "--clips", tmp_path / "t.csv", "--videos", tmp_path / "raw")
    assert found.find("a.mkv") == (24, 32)
