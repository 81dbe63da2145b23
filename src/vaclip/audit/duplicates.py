"""Clips that show one recording twice: equal files, and pictures that look the same.

Pictures are compared by their perceptual hash (pHash: C. Zauner, "Implementation and Benchmarking
of Perceptual Image Hash Functions", 2010): which low frequencies of the grey picture's cosine
transform lie above their median. Re-encoding, resizing and brightness turn few of these bits.
How `NEAR` was chosen: docs/describe.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse.csgraph import connected_components

from vaclip.evaluation.data_card import Finding

NEAR = 0.11
"""Largest distance of two clips that are called near-duplicates."""
SIDE = 12  # frequencies a side; with 8, as usual, patients filmed in one room look the same
BITS = SIDE * SIDE - 1  # the constant term, which is the brightness, is left out
MOST_FRAMES = 128  # of a clip
PROBES = 8  # frames of a clip that are looked for in another
_PLAIN = 3.0  # standard deviation of grey levels below which a picture shows nothing
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = 2048  # frames a side of the largest product


def frame_hashes(frames: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Hashes the frames of a clip.

    Args:
        frames: (S, H, W, 3) RGB, H and W at least 16. At most `MOST_FRAMES` evenly spaced ones
            are looked at, of these not the plain ones: all black pictures are alike.

    Returns:
        (F, `BITS`) of 1 and -1, in the order of the frames; F may be 0.
    """
    grey = np.asarray(frames[_spread(len(frames), min(len(frames), MOST_FRAMES))]) @ _LUMA
    grey = grey[grey.std(axis=(1, 2)) > _PLAIN]
    if not len(grey):  # which SciPy refuses
        return np.empty((0, BITS), np.int8)
    low = dctn(grey, axes=(1, 2))[:, :SIDE, :SIDE].reshape(len(grey), -1)[:, 1:]
    return np.where(low > np.median(low, axis=1, keepdims=True), 1, -1).astype(np.int8)


def clip_distances(
    hashes: Sequence[NDArray[np.int8]], progress: Callable[[int, int], None] | None = None
) -> NDArray[np.float32]:
    """Compares every two clips.

    `PROBES` frames of one clip are each looked for among all frames of the other, so a clip
    that starts later, or is a part of the other, is near as well. The distance is the mean share of
    bits that differ from the best match; of the two directions the nearer counts.

    Args:
        hashes: `frame_hashes` of N clips.
        progress: Called with (done, total).

    Returns:
        (N, N) in [0, 1], symmetric; infinite where a clip has no hash, and on the diagonal.
    """
    distances = np.full((len(hashes), len(hashes)), np.inf, np.float32)
    shown = np.array([n for n, own in enumerate(hashes) if len(own)], int)
    rows = _BLOCK // PROBES
    for begin in range(0, len(shown), rows):
        these = shown[begin : begin + rows]
        probes = [hashes[n][_spread(len(hashes[n]), PROBES)] for n in these]
        probe = np.concatenate(probes).astype(np.float32)
        for others in _blocks(shown, hashes):
            frames = np.concatenate([hashes[n] for n in others]).astype(np.float32)
            starts = np.cumsum([0, *(len(hashes[n]) for n in others[:-1])])
            best = np.maximum.reduceat(probe @ frames.T, starts, axis=1)
            mean = best.reshape(len(these), PROBES, len(others)).mean(axis=1)
            distances[np.ix_(these, others)] = (1 - mean / BITS) / 2
        if progress:
            progress(begin + len(these), len(shown))
    distances = np.minimum(distances, distances.T)
    np.fill_diagonal(distances, np.inf)
    return distances


def same_recording(
    digests: Sequence[str], spans: Sequence[tuple[float, float | None]]
) -> NDArray[np.bool_]:
    """Tells which clips show the same part of equal files.

    Args:
        digests: Of the N clips' files.
        spans: (start, end) of each in its file, in seconds; None for the end of the file.

    Returns:
        (N, N), symmetric; False on the diagonal.
    """
    file = np.array(list(digests))
    start = np.array([begin for begin, _ in spans], float)
    end = np.array([np.inf if stop is None else stop for _, stop in spans], float)
    same = (file[:, None] == file) & (start[:, None] < end) & (start < end[:, None])
    np.fill_diagonal(same, False)
    return same


def duplicates(
    clip_ids: Sequence[str],
    patients: Sequence[str],
    labels: Sequence[str],
    same: NDArray[np.bool_],
    distances: NDArray[np.float32],
) -> list[Finding]:
    """Tells of one recording under several patients, or under several labels of a patient.

    Args:
        clip_ids: Of N clips.
        patients: (N,) patient of each.
        labels: (N,) class of each.
        same: (N, N) `same_recording`.
        distances: (N, N) `clip_distances`.

    Returns:
        One finding for each group of clips that are alike, also over a third one.
    """
    patient, label = np.array(list(patients)), np.array(list(labels))
    apart = (patient[:, None] != patient) | (label[:, None] != label)
    return [
        _duplicate(group, clip_ids, patients, labels, how)
        for alike, how in (
            (same & apart, "are the same file"),
            ((distances <= NEAR) & ~same & apart, "look like one recording"),
        )
        for group in _groups(alike)
    ]


def _duplicate(
    group: list[int],
    clip_ids: Sequence[str],
    patients: Sequence[str],
    labels: Sequence[str],
    how: str,
) -> Finding:
    whose = tuple(sorted({patients[n] for n in group}))
    classes = sorted({labels[n] for n in group})
    who = f"{len(whose)} patients" if len(whose) > 1 else "one patient"
    what = f"{len(group)} clips of {who} {how} ({', '.join(classes)})"
    advice = (
        "look at them (vaclip data preview STUDY --clip ID); keep one of what is one recording, "
        "give one patient one patient_id: copies in training and test flatter every model"
    )
    clips = tuple(clip_ids[n] for n in group)
    return Finding("warning", "duplicates", what, advice, clips, whose)


def _groups(alike: NDArray[np.bool_]) -> list[list[int]]:
    _, group = connected_components(alike, directed=False)
    members = (np.flatnonzero(group == number).tolist() for number in np.unique(group))
    return sorted(own for own in members if len(own) > 1)


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Returns ``wanted`` evenly spaced numbers below ``count``, repeated where there are fewer."""
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)


def _blocks(
    clips: NDArray[np.int64], hashes: Sequence[NDArray[np.int8]]
) -> list[NDArray[np.int64]]:
    """Deals clips into runs of about `_BLOCK` frames."""
    frames = np.cumsum([len(hashes[n]) for n in clips])
    return np.split(clips, np.flatnonzero(np.diff(frames // _BLOCK)) + 1)
