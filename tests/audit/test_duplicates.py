"""Duplicates: hashes against naive loops, copies that must be found, others that must not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.ndimage import gaussian_filter

from conftest import write_video
from vaclip.audit import duplicates as module
from vaclip.audit.duplicates import (
    BITS,
    MOST_FRAMES,
    NEAR,
    PROBES,
    SIDE,
    clip_distances,
    duplicates,
    frame_hashes,
    same_recording,
)
from vaclip.data.video import decode_clip

FAR = np.inf


def scene(seed, frames=40, side=96):
    """A room that is the seed's own, in which something moves."""
    random = np.random.default_rng(seed)
    room = gaussian_filter(random.normal(size=(side, side, 3)), (side / 12, side / 12, 0))
    room = 90 + 60 * (room - room.min()) / np.ptp(room)
    pictures = np.repeat(room[None], frames, axis=0)
    for number, picture in enumerate(pictures):
        left = side * number // (2 * frames)
        picture[side // 4 : -side // 4, left : left + side // 3] += 90
    return pictures.clip(0, 255).astype(np.uint8)


def hashed(path):
    return frame_hashes(decode_clip(path, fps=8, size=(96, 96)).frames)


def distance(one, other):
    return clip_distances([one, other])[0, 1]


# --- hashes --------------------------------------------------------------------------------------


def test_the_hash_of_a_frame_by_hand():
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 20, 3), np.uint8)
    found = frame_hashes(frames)
    for picture, bits in zip(frames.astype(float), found, strict=True):
        grey = 0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2]
        low = dctn(grey)[:SIDE, :SIDE].ravel()[1:]
        assert bits.tolist() == [1 if value > np.median(low) else -1 for value in low]


def test_brightness_and_contrast_change_nothing():
    frames = scene(1, 5)
    changed = frames // 2 * 2 // 2 + 20  # half the contrast, in whole grey levels
    assert (frame_hashes(changed) != frame_hashes(frames)).mean() < 0.02


def test_plain_frames_are_left_out():
    frames = scene(1, 4)
    frames[[0, 2]] = 7
    assert len(frame_hashes(frames)) == 2
    assert frame_hashes(np.zeros((5, 16, 16, 3), np.uint8)).shape == (0, BITS)


def test_a_long_clip_is_seen_from_its_beginning_to_its_end():
    frames = np.random.default_rng(0).integers(0, 256, (3 * MOST_FRAMES, 16, 16, 3), np.uint8)
    found = frame_hashes(frames)
    assert len(found) == MOST_FRAMES
    assert np.array_equal(found[[0, -1]], frame_hashes(frames[[0, -1]]))


# --- distances -----------------------------------------------------------------------------------


def naive_distance(one, other):
    """The definition, in loops."""

    def towards(probe, frames):
        places = [round(x) for x in np.linspace(0, len(probe) - 1, PROBES)]
        return np.mean([min((probe[p] != frame).sum() for frame in frames) for p in places]) / BITS

    return min(towards(one, other), towards(other, one))


@pytest.mark.parametrize("block", [PROBES, 40, 4096])  # clips are dealt into several blocks
def test_distances_are_those_of_the_loops(block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    random = np.random.default_rng(0)
    sizes = (1, 5, 0, 30, 12, 17, 0, 9)
    hashes = [random.choice(np.array([-1, 1], np.int8), (size, BITS)) for size in sizes]
    found = clip_distances(hashes)
    for i, one in enumerate(hashes):
        for j, other in enumerate(hashes):
            if i == j or not len(one) or not len(other):
                assert found[i, j] == np.inf
            else:
                assert found[i, j] == pytest.approx(naive_distance(one, other), abs=1e-6)


def test_no_clip_no_distance():
    assert clip_distances([]).shape == (0, 0)
    plain = frame_hashes(np.zeros((5, 16, 16, 3), np.uint8))
    assert np.isinf(clip_distances([plain, plain])).all()


@pytest.mark.parametrize("seed", range(3))
def test_copies_are_near_and_others_are_not(seed, tmp_path):
    frames = scene(seed)
    original = hashed(write_video(tmp_path / "a.mkv", frames))
    light = (frames * 0.8 + 30).astype(np.uint8)
    copies = {
        "re-encoded": write_video(tmp_path / "b.mp4", frames, codec="libx264"),
        "half the size": write_video(tmp_path / "c.mkv", frames[:, ::2, ::2]),
        "lighter": write_video(tmp_path / "d.mkv", light),
        "a later start": write_video(tmp_path / "e.mkv", frames[15:]),
        "slower": write_video(tmp_path / "f.mkv", frames, fps=5),
    }
    for how, path in copies.items():
        assert distance(original, hashed(path)) < NEAR, how
    other = write_video(tmp_path / "g.mkv", scene(seed + 100))
    assert distance(original, hashed(other)) > 2 * NEAR


# --- findings ------------------------------------------------------------------------------------


def test_the_same_part_of_a_file():
    digests = ["a", "a", "a", "b", "a"]
    spans = [(0.0, None), (0.0, 2.0), (2.0, 4.0), (0.0, None), (3.0, None)]
    found = same_recording(digests, spans)
    pairs = {(i, j) for i, j in zip(*np.nonzero(found), strict=True) if i < j}
    assert pairs == {(0, 1), (0, 2), (0, 4), (2, 4)}  # 1 and 2 only touch
    assert np.array_equal(found, found.T)


def pairs_of(count, *pairs):
    table = np.zeros((count, count), bool)
    for i, j in pairs:
        table[i, j] = table[j, i] = True
    return table


def test_groups_are_over_a_third_clip_and_name_everyone():
    near = np.where(pairs_of(5, (0, 1), (1, 4)), NEAR, FAR).astype(np.float32)
    (found,) = duplicates("ABCDE", "abcde", ["ill"] * 4 + ["well"], pairs_of(5), near)
    assert found.clips == ("A", "B", "E")
    assert found.patients == ("a", "b", "e")
    assert found.what == "3 clips of 3 patients look like one recording (ill, well)"


def test_a_patient_may_look_the_same_in_clips_of_one_class_but_not_of_two():
    near = np.where(pairs_of(4, (0, 1), (2, 3)), 0, FAR).astype(np.float32)
    (found,) = duplicates("ABCD", "aabb", ["ill", "ill", "ill", "well"], pairs_of(4), near)
    assert found.clips == ("C", "D")
    assert found.what.startswith("2 clips of one patient look like")


def test_equal_files_are_told_once_as_such():
    near = np.where(pairs_of(2, (0, 1)), 0, FAR).astype(np.float32)
    (found,) = duplicates("AB", "ab", ["ill", "ill"], pairs_of(2, (0, 1)), near)
    assert "are the same file (ill)" in found.what


def test_what_is_only_somewhat_alike_is_not_told():
    near = np.where(pairs_of(2, (0, 1)), NEAR + 0.001, FAR).astype(np.float32)
    assert duplicates("AB", "ab", ["ill", "ill"], pairs_of(2), near) == []
