from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

from vaclip.cohort import write_gait
from vaclip.cohort.annotators import REGIONS
from vaclip.cohort.gait_figure import KEYPOINTS
from vaclip.cohort.synthetic_gait import GaitCohort, patient_labels
from vaclip.cohort.write_gait import cohort_folder, write_cohort
from vaclip.errors import VaclipError
from vaclip.maps.source import map_source
from vaclip.study.load import load_study

TINY = GaitCohort(patients=3, clips_per_patient=1, seconds=0.5, fps=8, size=64)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def written(cohort: GaitCohort, folder: Path, **options) -> dict[str, bytes]:
    write_cohort(cohort, folder, **{"workers": 1, **options})
    return contents(folder)


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / table).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path):
    first = written(TINY, tmp_path / "a")
    for again in range(20):  # some settings of x264 give other bytes once in ten runs
        assert first == written(TINY, tmp_path / str(again))
    other = written(replace(TINY, seed=1), tmp_path / "c")
    assert first["videos/P001_c1.mp4"] != other["videos/P001_c1.mp4"]


def test_number_of_workers_does_not_matter(tmp_path):
    assert written(TINY, tmp_path / "a") == written(TINY, tmp_path / "b", workers=2)


@pytest.mark.parametrize("change", [{"truth": "null"}, {"agreement": 1.0}])
def test_annotators_change_attention_csv_alone(tmp_path, change):
    leaks = replace(TINY, truth="leaks")
    first = written(leaks, tmp_path / "a")
    second = written(replace(leaks, **change), tmp_path / "b")
    described = {"study.yaml"} if "truth" in change else set()
    differ = {name for name in first if first[name] != second[name]}
    assert differ == {"attention.csv"} | described
    assert first.keys() == second.keys()


def test_annotators_who_point_at_random_know_nothing(tmp_path):
    cohort = replace(TINY, patients=3, clips_per_patient=1, truth="null")
    write_cohort(cohort, tmp_path / "s", workers=1)
    study = load_study(tmp_path / "s", quiet=True)
    assert (study.blinding.blinded, study.blinding.saw) == (True, ())
    for clip in study.clips:  # nor do their maps follow anybody's joints
        for mark in study.annotations[clip.clip_id]:
            assert not map_source(mark.kind).files(mark.value, study.annotated(clip))


def test_study_folder_is_complete(tmp_path):
    cohort = replace(TINY, patients=4, clips_per_patient=2)
    calls = []
    write_cohort(cohort, tmp_path / "s", lambda *call: calls.append(call), workers=1)
    assert calls == [(i, 8) for i in range(1, 9)]
    study = yaml.safe_load((tmp_path / "s/study.yaml").read_text())
    assert study["classes"] == list(cohort.classes)
    knew = {"blinded": False, "saw": ["the simulated sign"], "when": "after"}
    assert study["annotation"] == knew
    joints = [joint for region in study["regions"].values() for joint in region["keypoints"]]
    assert sorted(joints) == sorted(KEYPOINTS)
    clips = rows(tmp_path / "s", "clips.csv")
    assert [clip["clip_id"] for clip in clips[:3]] == ["P001_c1", "P001_c2", "P002_c1"]
    labels = patient_labels(cohort)
    assert [clip["label"] for clip in clips] == [label for label in labels for _ in range(2)]
    annotations = rows(tmp_path / "s", "attention.csv")
    assert [(m["clip_id"], m["annotator"]) for m in annotations] == [
        (clip["clip_id"], rater) for clip in clips for rater in ("rater1", "rater2")
    ]
    assert {m["kind"] for m in annotations} == {"region"}
    assert {m["value"] for m in annotations} <= set(REGIONS)


def test_video_and_keypoints_have_the_promised_shape(tmp_path):
    write_cohort(replace(TINY, seconds=1.5, fps=10), tmp_path / "s", workers=1)
    for clip in rows(tmp_path / "s", "clips.csv"):
        with av.open(str(tmp_path / "s" / clip["video"])) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.average_rate == 10
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert np.shape(frames) == (15, 64, 64, 3)
        arrays = np.load(tmp_path / "s" / clip["keypoints"])
        assert arrays["keypoints"].shape == (15, 17, 2)
        assert arrays["scores"].shape == (15, 17)
        assert {arrays[name].dtype for name in arrays} == {np.dtype(np.float32)}
        assert arrays["scores"].min() >= 0
        assert arrays["scores"].max() <= 1
        far = [i for i, name in enumerate(KEYPOINTS) if name.startswith("left")]
        near = [i for i, name in enumerate(KEYPOINTS) if name.startswith("right")]
        assert arrays["scores"][:, far].mean() < arrays["scores"][:, near].mean() - 0.1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_write_leaves_nothing(tmp_path, workers):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(TINY, tmp_path / "s", stop, workers=workers)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(VaclipError, match="is not empty"):
        write_cohort(TINY, tmp_path, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_whoever_is_first_with_a_folder_wins(tmp_path):
    def overtake(done: int, total: int) -> None:
        if done == total:
            (tmp_path / "s").mkdir()
            (tmp_path / "s/study.yaml").write_text("theirs")

    write_cohort(TINY, tmp_path / "s", overtake, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    assert contents(tmp_path / "s") == {"study.yaml": b"theirs"}


def test_the_cache_is_written_once_and_covers_every_parameter(tmp_path, monkeypatch):
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append(done)

    folder = cohort_folder(TINY, tmp_path, progress, workers=1)
    assert (folder / "clips.csv").is_file()
    monkeypatch.setenv("VACLIP_CACHE", str(tmp_path))
    assert cohort_folder(TINY, None, progress) == folder
    assert calls == [1, 2, 3]

    monkeypatch.setattr(write_gait, "_write", lambda *_: None)
    changes = {
        "patients": 4,
        "clips_per_patient": 2,
        "sign_strength": 0.5,
        "agreement": 0.5,
        "truth": "null",
        "ring": 0.5,
        "seed": 1,
        "seconds": 1.0,
        "fps": 9,
        "size": 66,
    }
    assert changes.keys() == vars(TINY).keys()
    folders = {cohort_folder(replace(TINY, **{name: v})) for name, v in changes.items()}
    monkeypatch.setattr(write_gait, "GENERATOR_VERSION", -1)
    folders |= {folder, cohort_folder(TINY)}
    assert len(folders) == len(changes) + 2
