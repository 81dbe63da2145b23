"""Clips that show one recording twice: equal files, and pictures that look the same.

Pictures are compared by their perceptual hash (pHash: C. Zauner, "Implementation and Benchmarking
of Perceptual Image Hash Functions", 2010): which low frequencies of the grey picture's cosine
transform lie above their median. Re-encoding, resizing and brightness turn few of these bits.
How `NEAR` was chosen: docs/describe.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import coo_array
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
_AT_ONCE = 1 << 20  # pairs of frames, which bounds memory


def frame_hashes(frames: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hashes the frames of a clip.

    Args:
        frames: (S, H, W, 3) RGB, H and W at least 16. At most `MOST_FRAMES` evenly spaced ones
            are looked at, of these not the plain ones: all black pictures are alike.

    Returns:
        (F, W), the `BITS` of each frame in W words, in the order of the frames; F may be 0.
    """
    grey = np.asarray(frames[_spread(len(frames), min(len(frames), MOST_FRAMES))]) @ _LUMA
    grey = grey[grey.std(axis=(1, 2)) > _PLAIN]
    if not len(grey):  # which SciPy refuses
        return _packed(np.zeros((0, BITS), bool))
    low = dctn(grey, axes=(1, 2))[:, :SIDE, :SIDE].reshape(len(grey), -1)[:, 1:]
    return _packed(low > np.median(low, axis=1, keepdims=True))


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Deals the bits of each row to `_parts`, as cards, and puts two parts into a word."""
    parts = _parts()
    width = -(-BITS // parts)
    cards = np.pad(bits, ((0, 0), (0, parts * width - BITS))).reshape(-1, width, parts)
    dealt = (cards.astype(np.uint32) << np.arange(width, dtype=np.uint32)[:, None]).sum(axis=1)
    return np.pad(dealt.astype(np.uint32), ((0, 0), (0, parts % 2))).view(np.uint64)


def _parts() -> int:
    """Returns how many parts a hash has: two that are near differ in one bit at most of some."""
    return int(NEAR * BITS) // 2 + 1


def clip_distance(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """Compares two clips.

    `PROBES` frames of one clip are each looked for among all frames of the other, so a clip
    that starts later, or is a part of the other, is near as well. The distance is the mean share of
    bits that differ from the best match; of the two directions the nearer counts.

    Args:
        one: `frame_hashes` of a clip.
        other: Of another.

    Returns:
        In [0, 1]; infinite where a clip has no hash.
    """
    if not (len(one) and len(other)):
        return np.inf
    return min(_bits_off(one, other), _bits_off(other, one)) / (PROBES * BITS)


def _bits_off(clip: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    """Returns in how many bits the probes of a clip differ from their best matches, in all."""
    probes = clip[_spread(len(clip), PROBES)]
    return int(_set_bits(probes[:, None] ^ other).sum(axis=2).min(axis=1).sum())


def near_pairs(
    hashes: Sequence[NDArray[np.uint64]],
    groups: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int64]:
    """Finds the pairs of clips whose `clip_distance` is at most `NEAR`, without comparing all.

    Of a near pair at least one probe has a match that differs in at most `NEAR` of its bits, and so
    in at most one bit of some part of the hash: only frames that share a part but for one bit are
    compared (M. Norouzi et al., "Fast Exact Search in Hamming Space with Multi-Index Hashing",
    2014).

    Args:
        hashes: `frame_hashes` of N clips.
        groups: (N,) numbers; clips of one group are not compared.
        progress: Called with (done, total).

    Returns:
        (P, 2), each pair once, the smaller number first, in order.
    """
    sizes = np.array([len(own) for own in hashes], int)
    if not sizes.any():
        return np.zeros((0, 2), np.int64)
    clip = np.repeat(np.arange(len(hashes)), sizes)
    starts = np.cumsum(sizes) - sizes
    probes = [starts[n] + _spread(sizes[n], PROBES) for n in np.flatnonzero(sizes)]
    frames = _Frames(np.concatenate(hashes), clip, np.asarray(groups)[clip], len(hashes))
    wanted = np.unique(np.concatenate(probes))
    found: list[NDArray[np.int64]] = []
    for part in range(_parts()):
        found += frames.sharing(part, wanted)
        if progress:
            progress(part + 1, _parts())
    ordered = np.stack(np.divmod(np.unique(np.concatenate(found)), len(hashes)), axis=1)
    most = int(NEAR * PROBES * BITS)
    near = [_bits_off(hashes[one], hashes[other]) <= most for one, other in ordered]
    return np.unique(np.sort(ordered[np.array(near, bool)], axis=1), axis=0)


@dataclass(frozen=True)
class _Frames:
    """All frames of some clips.

    Attributes:
        words: (F, W) their hashes.
        clip: (F,) whose frame it is.
        group: (F,) the clip's.
        clips: N.
    """

    words: NDArray[np.uint64]
    clip: NDArray[np.int64]
    group: NDArray[np.int64]
    clips: int

    def sharing(self, part: int, probes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yields the clips that have a frame near a probe, as the probe's clip * N + clip.

        Args:
            part: Of the hash, in which the two differ by one bit at most.
            probes: Frames.
        """
        keys = self.words.view(np.uint32)[:, part].astype(np.int64)
        order = np.argsort(keys, kind="stable")
        flips = np.array([0, *(1 << np.arange(-(-BITS // _parts())))])
        starts = np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=2 * flips[-1]))])
        # Blocks of probes, then of their pairs with frames, which bounds memory.
        for some in np.split(probes, range(_AT_ONCE // 16, len(probes), _AT_ONCE // 16)):
            first = keys[some, None] ^ flips
            many = starts[first + 1] - starts[first]
            blocks = np.flatnonzero(np.diff(np.cumsum(many.sum(axis=1)) // _AT_ONCE)) + 1
            for rows in np.split(np.arange(len(some)), blocks):
                ends = np.cumsum(many[rows])
                shift = np.repeat(
                    starts[first[rows]].ravel() - ends + many[rows].ravel(), many[rows].ravel()
                )
                frame = order[np.arange(ends[-1]) + shift]
                probe = np.repeat(some[rows], many[rows].sum(axis=1))
                yield self._near(probe, frame)

    def _near(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
        apart = np.flatnonzero(self.group[one] != self.group[other])
        one, other = one[apart], other[apart]
        off = np.zeros(len(one), np.uint64)
        for words in self.words.T:  # few are left after the second
            off += _set_bits(words[one] ^ words[other])
            like = np.flatnonzero(off <= NEAR * BITS)
            one, other, off = one[like], other[like], off[like]
        return np.unique(self.clip[one] * self.clips + self.clip[other])


def _set_bits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Counts the bits that are set (H. S. Warren, "Hacker's Delight", chapter 5)."""
    every = np.uint64(0xFFFFFFFFFFFFFFFF)
    words = words - (words >> np.uint64(1) & every // np.uint64(3))
    fours = every // np.uint64(5)
    words = (words & fours) + (words >> np.uint64(2) & fours)
    words = words + (words >> np.uint64(4)) & every // np.uint64(17)
    return words * (every // np.uint64(255)) >> np.uint64(56)


def same_recording(
    digests: Sequence[str], spans: Sequence[tuple[float, float | None]], groups: Sequence[int]
) -> NDArray[np.int64]:
    """Finds the clips that show the same part of equal files.

    Args:
        digests: Of the N clips' files.
        spans: (start, end) of each in its file, in seconds; None for the end of the file.
        groups: (N,) numbers; clips of one group are not compared.

    Returns:
        (P, 2), as `near_pairs`.
    """
    group = np.asarray(groups)
    begin = np.array([start for start, _ in spans], float)
    end = np.array([np.inf if stop is None else stop for _, stop in spans], float)
    _, file = np.unique(np.array(list(digests), str), return_inverse=True)
    order = np.lexsort((begin, file))
    found = [np.zeros((0, 2), np.int64)]
    for own in np.split(order, np.flatnonzero(np.diff(file[order])) + 1):
        until = np.searchsorted(begin[own], end[own])  # those before it begin before this one ends
        for place, one in enumerate(own.tolist()):
            others = own[place + 1 : until[place]]
            others = others[group[others] != group[one]]
            found.append(np.stack([np.full(len(others), one), others], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def duplicates(
    clip_ids: Sequence[str],
    patients: Sequence[str],
    labels: Sequence[str],
    same: NDArray[np.int64],
    near: NDArray[np.int64],
) -> list[Finding]:
    """Tells of one recording under several patients, or under several labels of a patient.

    Args:
        clip_ids: Of N clips.
        patients: (N,) patient of each.
        labels: (N,) class of each.
        same: `same_recording`.
        near: `near_pairs`; those that are the same as well are told once.

    Returns:
        One finding for each group of clips that are alike, also over a third one.
    """
    known = set(map(tuple, same.tolist()))
    others = [pair for pair in near.tolist() if tuple(pair) not in known]
    return [
        _duplicate(group, clip_ids, patients, labels, how)
        for pairs, how in (
            (same.tolist(), "are the same file"),
            (others, "look like one recording"),
        )
        for group in _groups(pairs)
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


def _groups(pairs: Sequence[Sequence[int]]) -> list[list[int]]:
    """Returns the clips that pairs join, in sorted groups."""
    if not pairs:
        return []
    clips, ends = np.unique(np.array(pairs), return_inverse=True)
    one, other = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(one)), (one, other)), shape=(len(clips), len(clips)))
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    members = np.split(clips[order], np.flatnonzero(np.diff(group[order])) + 1)
    return sorted(own.tolist() for own in members)


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Returns ``wanted`` evenly spaced numbers below ``count``, repeated where there are fewer."""
    return np.linspace(0, count - 1, wanted).round().astype(np.int64)
