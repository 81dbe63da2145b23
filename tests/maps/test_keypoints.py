from __future__ import annotations

import builtins
import os
import pickle
import subprocess

import numpy as np
import pytest

from vaclip.errors import VaclipError
from vaclip.maps.keypoints import load_keypoints

RANDOM = np.random.default_rng(0)
POINTS = RANDOM.uniform(0, 100, (6, 17, 2))
SCORES = RANDOM.uniform(0, 1, (6, 17))
WITH_SCORES = np.concatenate([POINTS, SCORES[..., None]], axis=-1)
CERTAIN = np.concatenate([POINTS, np.ones((6, 17, 1))], axis=-1)


def pickled(path, content, protocol=pickle.DEFAULT_PROTOCOL):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def saved(path, content):
    if path.suffix in (".pkl", ".pickle"):
        return pickled(path, content)
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        np.save(path, content)
    return path


# --- forms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("k.npz", {"keypoints": POINTS, "scores": SCORES}, WITH_SCORES),
        ("k.npz", {"keypoints": POINTS}, CERTAIN),
        ("k.npz", {"keypoints": WITH_SCORES}, WITH_SCORES),
        ("k.npz", {"keypoints": CERTAIN, "scores": SCORES}, WITH_SCORES),
        ("k.npy", POINTS, CERTAIN),
        ("k.npy", WITH_SCORES, WITH_SCORES),
        ("k.pkl", WITH_SCORES, WITH_SCORES),
        ("k.pickle", {"keypoints": POINTS, "scores": SCORES}, WITH_SCORES),
        ("k.pkl", {"keypoint": POINTS[None], "keypoint_score": SCORES[None]}, WITH_SCORES),
        ("k.pkl", {"keypoint": WITH_SCORES[None], "label": 3, "frame_dir": "a"}, WITH_SCORES),
    ],
)
def test_forms(tmp_path, name, content, wanted):
    loaded = load_keypoints(saved(tmp_path / name, content))
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, wanted, rtol=1e-6)


@pytest.mark.parametrize("protocol", range(6))
def test_every_pickle_protocol(tmp_path, protocol):
    content = {"keypoint": POINTS[None], "keypoint_score": SCORES[None], "w": np.float64(1)}
    loaded = load_keypoints(pickled(tmp_path / "k.pkl", content, protocol))
    np.testing.assert_allclose(loaded, WITH_SCORES, rtol=1e-6)


def test_most_certain_person_is_taken(tmp_path):
    people = np.stack([POINTS, POINTS + 1, POINTS + 2])
    scores = np.stack([SCORES * 0.5, SCORES, SCORES * 0.9])
    scores[2, 0, 0] = 1.0  # the highest single score is not the highest mean
    path = pickled(tmp_path / "k.pkl", {"keypoint": people, "keypoint_score": scores})
    np.testing.assert_allclose(load_keypoints(path)[..., :2], POINTS + 1, rtol=1e-6)


def test_undefined_joints_have_no_confidence_and_scores_are_cut(tmp_path):
    joints = WITH_SCORES.copy()
    joints[0, 1, 0] = np.nan
    joints[2, 3, 1] = np.inf
    joints[4, 5, 2] = np.nan
    joints[0, 0, 2], joints[1, 0, 2] = 1.5, -0.5
    loaded = load_keypoints(saved(tmp_path / "k.npy", joints))
    for frame, joint in ((0, 1), (2, 3), (4, 5)):
        assert loaded[frame, joint].tolist() == [0, 0, 0]
    assert (loaded[0, 0, 2], loaded[1, 0, 2]) == (1.0, 0.0)
    np.testing.assert_allclose(loaded[3], WITH_SCORES[3], rtol=1e-6)


# --- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.npy", np.zeros((6, 17))),
        ("k.npy", np.zeros((6, 17, 4))),
        ("k.npy", np.zeros((2, 2, 6, 17, 2))),
        ("k.npz", {"keypoints": POINTS, "scores": SCORES[:5]}),
        ("k.npz", {"keypoints": POINTS, "scores": SCORES[:, 0]}),
        ("k.npz", {"joints": POINTS}),
        ("k.pkl", {"keypoints": POINTS.tolist()}),
        ("k.pkl", [1, 2, 3]),
        ("k.pkl", None),
    ],
)
def test_wrong_content_is_named(tmp_path, name, content):
    with pytest.raises(VaclipError, match=rf"^{name}: .*\(T, J, 2\)"):
        load_keypoints(saved(tmp_path / name, content))


@pytest.mark.parametrize("name", ["k.npz", "k.npy", "k.pkl"])
@pytest.mark.parametrize("keep", [0, 0.3, 0.9])
def test_truncated_file_is_named(tmp_path, name, keep):
    content = {"keypoints": POINTS, "scores": SCORES} if name == "k.npz" else POINTS
    path = saved(tmp_path / name, content)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(VaclipError, match=f"^{name}: (the keypoints )?cannot be read"):
        load_keypoints(path)


def test_object_array_is_refused(tmp_path):
    np.save(tmp_path / "k.npy", np.full((2, 3, 2), None), allow_pickle=True)
    with pytest.raises(VaclipError, match=r"^k\.npy: (the keypoints )?cannot be read"):
        load_keypoints(tmp_path / "k.npy")


def test_unknown_suffix_and_missing_file_are_named(tmp_path):
    (tmp_path / "k.csv").write_text("x,y\n")
    with pytest.raises(VaclipError, match=r"^k\.csv: .*unknown suffix '\.csv'"):
        load_keypoints(tmp_path / "k.csv")
    with pytest.raises(VaclipError, match=r"^gone\.npz: (the keypoints )?cannot be read"):
        load_keypoints(tmp_path / "gone.npz")


@pytest.mark.parametrize(
    "content",
    [
        {"keypoint": np.zeros((0, 6, 17, 2))},  # nobody was found: IndexError
        {"keypoint": POINTS[None], "keypoint_score": np.arange(6.0 * 17).reshape(6, 17)},  # same
        {"keypoints": np.full((6, 17, 2), "x")},  # ValueError
        {"keypoint": POINTS[None], "keypoint_score": np.full((1, 6, 17), "x")},  # TypeError
    ],
    ids=["nobody", "scores of one person", "text", "text scores"],
)
def test_odd_content_is_named(tmp_path, content):
    with pytest.raises(VaclipError, match=r"^k\.pkl: "):
        load_keypoints(pickled(tmp_path / "k.pkl", content))


@pytest.mark.parametrize("damage", ["zlib", "header"])
def test_damaged_zip_is_named(tmp_path, damage):
    path = tmp_path / "k.npz"
    if damage == "zlib":
        np.savez_compressed(path, keypoints=POINTS)
        content = bytearray(path.read_bytes())
        content[60:90] = b"\xff" * 30
    else:
        path = tmp_path / "k.npy"
        np.save(path, POINTS)
        content = path.read_bytes().replace(b"}", b" ")
    path.write_bytes(content)
    with pytest.raises(VaclipError, match=f"^{path.name}: (the keypoints )?cannot be read"):
        load_keypoints(path)


@pytest.mark.parametrize(
    "content",
    [b"}]a.", b"I1\n)R.", b"cnumpy\ndtype\n(S'Z'\ntR.", b"\x80\x04\x95" + b"\xff" * 8],
)
def test_damaged_pickle_is_named(tmp_path, content):
    (tmp_path / "k.pkl").write_bytes(content)
    with pytest.raises(VaclipError, match=r"^k\.pkl: (the keypoints )?cannot be read"):
        load_keypoints(tmp_path / "k.pkl")


def test_changed_file_is_read_anew(tmp_path):
    path = saved(tmp_path / "k.npy", POINTS)
    load_keypoints(path)
    saved(path, POINTS + 1)
    np.testing.assert_allclose(load_keypoints(path)[..., :2], POINTS + 1, rtol=1e-6)


# --- pickles that would run code -----------------------------------------------------------------


class Runs:
    """Is restored by a call."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("call", ["system", "eval", "exec", "popen", "load", "nested"])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, call, protocol):
    annotation = tmp_path / "was_run"
    python = f"open({str(annotation)!r}, 'w')"
    evil = {
        "system": Runs(os.system, f"touch {annotation}"),
        "eval": Runs(builtins.eval, python),
        "exec": Runs(builtins.exec, python),
        "popen": Runs(subprocess.check_call, ["touch", str(annotation)]),
        "load": Runs(np.load, str(annotation)),
        "nested": Runs(builtins.eval, python),
    }[call]
    content = {"keypoints": POINTS, "more": [evil]} if call == "nested" else evil
    path = pickled(tmp_path / "k.pkl", content, protocol)
    with pytest.raises(VaclipError, match="which could run code"):
        load_keypoints(path)
    assert not annotation.exists()


def test_dotted_name_does_not_reach_past_an_admitted_one(tmp_path):
    # Protocol 4 resolves "ndarray.tofile" attribute by attribute.
    content = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    (tmp_path / "k.pkl").write_bytes(content)
    with pytest.raises(VaclipError, match=r"asks for 'numpy\.ndarray\.tofile'"):
        load_keypoints(tmp_path / "k.pkl")


def test_refused_pickle_is_named(tmp_path):
    path = pickled(tmp_path / "k.pkl", Runs(os.getcwd))
    with pytest.raises(VaclipError, match=r"^k\.pkl: "):
        load_keypoints(path)
