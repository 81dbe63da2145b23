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
    clip_distance,
    duplicates,
    frame_hashes,
    near_pairs,
    same_recording,
)
from vaclip.data.video import decode_clip


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


def bits_of(hashes):
    """Unpacks (F, W) words to (F, BITS)."""
    parts = hashes.view(np.uint32)
    count = module._parts()
    return np.stack([parts[:, i % count] >> (i // count) & 1 for i in range(BITS)], axis=1)


def packed(bits):
    return module._packed(np.asarray(bits, bool))


# --- hashes --------------------------------------------------------------------------------------


def test_the_hash_of_a_frame_by_hand():
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 20, 3), np.uint8)
    found = frame_hashes(frames)
    for picture, bits in zip(frames.astype(float), bits_of(found), strict=True):
        grey = 0.299 * picture[..., 0] + 0.587 * picture[..., 1] + 0.114 * picture[..., 2]
        low = dctn(grey)[:SIDE, :SIDE].ravel()[1:]
        assert bits.tolist() == [value > np.median(low) for value in low]


def test_brightness_and_contrast_change_nothing():
    frames = scene(1, 5)
    changed = frames // 2 * 2 // 2 + 20  # half the contrast, in whole grey levels
    assert (bits_of(frame_hashes(changed)) != bits_of(frame_hashes(frames))).mean() < 0.02


def test_plain_frames_are_left_out():
    frames = scene(1, 4)
    frames[[0, 2]] = 7
    assert len(frame_hashes(frames)) == 2
    assert len(frame_hashes(np.zeros((5, 16, 16, 3), np.uint8))) == 0


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
        return np.mean([(probe[p] != frames).sum(axis=1).min() for p in places]) / BITS

    return min(towards(one, other), towards(other, one))


def drawn_clips(random, sizes):
    """Clips of some scenes, whose frames differ from the scene's in more and more bits."""
    scenes = random.integers(0, 2, (4, BITS))
    made = []
    for number, size in enumerate(sizes):
        flipped = random.random((size, BITS)) < 0.012 * (number % 12)
        made.append(scenes[number % 4] ^ flipped)
    return made


def test_the_distance_is_that_of_the_loops():
    random = np.random.default_rng(0)
    clips = drawn_clips(random, (1, 5, 0, 30, 12, 17, 0, 9))
    for one in clips:
        for other in clips:
            found = clip_distance(packed(one), packed(other))
            if len(one) and len(other):
                assert found == pytest.approx(naive_distance(one, other), abs=1e-9)
            else:
                assert found == np.inf


@pytest.mark.parametrize("at_once", [16, 300, 1 << 20])  # pairs come in several blocks
@pytest.mark.parametrize("seed", range(3))
def test_near_pairs_are_those_of_comparing_all(seed, at_once, monkeypatch):
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    random = np.random.default_rng(seed)
    clips = drawn_clips(random, random.integers(0, 24, 40))
    groups = random.integers(0, 15, len(clips))
    shown = [n for n, own in enumerate(clips) if len(own)]
    far = {
        (i, j): naive_distance(clips[i], clips[j])
        for i in shown
        for j in shown
        if i < j and groups[i] != groups[j]
    }
    near = {pair for pair, distance in far.items() if distance <= NEAR}
    assert sum(far[pair] > 0.8 * NEAR for pair in near) > 5  # the hard ones: just near enough
    assert sum(NEAR < distance < 1.2 * NEAR for distance in far.values()) > 5
    found = near_pairs([packed(own) for own in clips], groups)
    assert found.tolist() == sorted(map(list, near))


def test_the_limit_counts_to_the_bit():
    dark, most = packed(np.zeros((PROBES, BITS))), int(NEAR * BITS)
    for bits, found in ((most, [[0, 1]]), (most + 1, [])):
        spread = np.zeros(BITS)
        spread[np.linspace(0, BITS - 1, bits).round().astype(int)] = 1  # over all parts
        assert near_pairs([packed(np.tile(spread, (PROBES, 1))), dark], [0, 1]).tolist() == found


def test_no_clip_no_pair():
    assert near_pairs([], []).shape == (0, 2)
    plain = frame_hashes(np.zeros((5, 16, 16, 3), np.uint8))
    assert near_pairs([plain, plain], [0, 1]).shape == (0, 2)


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
        assert clip_distance(original, hashed(path)) < NEAR, how
    other = write_video(tmp_path / "g.mkv", scene(seed + 100))
    assert clip_distance(original, hashed(other)) > 2 * NEAR


# --- findings ------------------------------------------------------------------------------------


def naive_same(digests, spans, groups):
    ends = [(start, np.inf if end is None else end) for start, end in spans]
    return [
        [i, j]
        for i in range(len(digests))
        for j in range(i + 1, len(digests))
        if digests[i] == digests[j] and groups[i] != groups[j]
        if ends[i][0] < ends[j][1] and ends[j][0] < ends[i][1]
    ]


def test_the_same_part_of_a_file():
    digests = ["a", "a", "a", "b", "a"]
    spans = [(0.0, None), (0.0, 2.0), (2.0, 4.0), (0.0, None), (3.0, None)]
    found = same_recording(digests, spans, range(5))
    assert found.tolist() == [[0, 1], [0, 2], [0, 4], [2, 4]]  # 1 and 2 only touch
    assert same_recording(digests, spans, [0, 0, 1, 2, 0]).tolist() == [[0, 2], [2, 4]]


def test_the_same_parts_of_many_files_are_those_of_the_loops():
    random = np.random.default_rng(0)
    digests = [f"file {n}" for n in random.integers(0, 6, 80)]
    starts = random.integers(0, 20, 80)
    lasts = random.integers(1, 6, 80)
    spans = [
        (float(s), None if n == 5 else float(s + n)) for s, n in zip(starts, lasts, strict=True)
    ]
    groups = random.integers(0, 9, 80)
    found = same_recording(digests, spans, groups.tolist())
    assert len(found) > 50
    assert found.tolist() == naive_same(digests, spans, groups)


def pairs_of(*pairs):
    return np.array(pairs, int).reshape(-1, 2)


def test_groups_are_over_a_third_clip_and_name_everyone():
    near = pairs_of((0, 1), (1, 4))
    (found,) = duplicates("ABCDE", "abcde", ["ill"] * 4 + ["well"], pairs_of(), near)
    assert found.clips == ("A", "B", "E")
    assert found.patients == ("a", "b", "e")
    assert found.what == "3 clips of 3 patients look like one recording (ill, well)"


def test_two_groups_are_two_findings():
    near = pairs_of((0, 3), (1, 4))
    found = duplicates("ABCDE", "abcde", ["ill"] * 5, pairs_of(), near)
    assert [one.clips for one in found] == [("A", "D"), ("B", "E")]


def test_one_patient_under_two_labels_is_told_so():
    labels = ["ill", "ill", "ill", "well"]
    (found,) = duplicates("ABCD", "aabb", labels, pairs_of(), pairs_of((2, 3)))
    assert found.clips == ("C", "D")
    assert found.what.startswith("2 clips of one patient look like")


def test_equal_files_are_told_once_as_such():
    (found,) = duplicates("AB", "ab", ["ill", "ill"], pairs_of((0, 1)), pairs_of((0, 1)))
    assert "are the same file (ill)" in found.what
