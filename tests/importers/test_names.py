from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vaclip.importers.names import VideoNames

NAMES = VideoNames(
    [
        ("c1", "videos/a/cine.avi"),
        ("c2", "videos/b/cine.avi"),
        ("c3", "videos/walk_1.mp4"),
        ("c4", "videos/walk_1.mp4"),
        ("c5", "videos/walk_10.mp4"),
        ("walk_10", "videos/other.mp4"),
        ("c6", "clip.mkv"),
    ]
)


def test_a_clip_is_found_by_its_id_and_by_every_name_of_its_video():
    for name in (
        "c5",
        "videos/walk_10.mp4",
        "walk_10.mp4",
        "/home/x/walk_10.mp4",
        "C:\\walk_10.mp4",
    ):
        assert NAMES.find(name) == ["c5"], name
    for name in ("clip.mkv", "clip", "c6"):
        assert NAMES.find(name) == ["c6"]


def test_an_id_that_is_the_name_of_another_clips_video_means_none():
    assert NAMES.find("walk_10") == []
    assert NAMES.find("other.mp4") == ["walk_10"]


def test_what_is_of_a_video_means_all_its_clips_also_by_the_id_of_one():
    names = VideoNames([("w", "videos/w.mp4"), ("w_late", "videos/w.mp4"), ("x", "videos/y.mp4")])
    assert names.find("w") == ["w"]
    assert names.find("w", of_video=True) == ["w", "w_late"]
    assert names.find("w_late", of_video=True) == ["w_late"]
    assert names.find("x", of_video=True) == ["x"]


def test_a_path_of_another_folder_does_not_mean_the_file_at_the_top():
    names = VideoNames([("p1", "videos/cine.avi"), ("p3", "videos/p3/cine.avi")])
    assert names.find("p2/cine.avi") == []
    assert names.find("cine.avi") == []
    assert names.find("p3/cine.avi") == ["p3"]
    assert names.find("videos/cine.avi") == ["p1"]
    other = VideoNames([("root", "x.mp4"), ("sub", "videos/a/x.mp4")])
    assert other.find("a/x.mp4") == ["sub"]


def test_a_video_of_several_clips_means_all_of_them():
    assert NAMES.find("walk_1.mp4") == ["c3", "c4"]
    assert NAMES.find("walk_1") == ["c3", "c4"]


def test_a_folder_tells_files_of_one_name_apart_and_without_it_none_is_meant():
    assert NAMES.find("a/cine.avi") == ["c1"]
    assert NAMES.find("b/cine") == ["c2"]
    assert NAMES.find("cine.avi") == []
    assert NAMES.find("cine") == []
    assert NAMES.find("z/cine.avi") == []


def test_parts_of_names_and_other_cases_mean_nothing():
    for name in ("walk", "alk_1", "walk_1.mp", "WALK_1.mp4", "walk_1.avi", "", "videos", "c"):
        assert NAMES.find(name) == [], name


def test_what_is_not_found_is_listed_with_its_place():
    unmatched: list[str] = []
    assert NAMES.clips("nobody", "doctor1.csv:7", unmatched) == []
    assert NAMES.clips("walk_11.mp4", "doctor1.csv:8", unmatched) == []
    assert NAMES.clips("cine.avi", "doctor1.csv:9", unmatched) == []
    assert unmatched == [
        "doctor1.csv:7: no clip or video is named 'nobody'.",
        "doctor1.csv:8: no clip or video is named 'walk_11.mp4'. Did you mean 'walk_1.mp4'?",
        "doctor1.csv:9: more than one video is named 'cine.avi'.",
    ]


def test_letters_with_annotations_are_the_same_however_a_disk_spells_them():
    apart, together = "hu\u0308fte", "h\u00fcfte"
    for stored, asked in ((apart, together), (together, apart)):
        names = VideoNames([("c1", f"videos/{stored}.mp4"), (f"{stored} 2", "videos/b.mp4")])
        assert names.find(f"{asked}.mp4") == names.find(f"x/{asked}") == ["c1"]
        assert names.find(f"{asked} 2") == [f"{stored} 2"]


parts = st.builds(
    "{}{}".format, st.text("ab_", min_size=1, max_size=2), st.sampled_from(("", ".a"))
)
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(st.text("xyz", min_size=1, max_size=3), paths, min_size=1), paths)
def test_whatever_is_found_bears_the_name(clips, name):
    """Against the definition: the last parts of the path are equal, with or without suffix."""
    found = VideoNames(list(clips.items())).find(name)
    file_name = name.rpartition("/")[2]
    for clip_id in found:
        video = clips[clip_id].rpartition("/")[2]
        assert file_name in (video, video.removesuffix(".a")) or clip_id == name
