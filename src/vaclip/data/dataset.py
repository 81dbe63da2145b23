"""Segments as a torch dataset, read from the memory-mapped cache."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from vaclip import keys
from vaclip.data.arrays import ArrayFile, ShardArray, array_shape, map_array
from vaclip.data.cache import CachedTokens
from vaclip.data.items import ClipItem, columns_of
from vaclip.data.sampling import plan_segments, segment_samples
from vaclip.data.transforms import Augmentation, random_crop
from vaclip.seeds import mix_seed

Noise: TypeAlias = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]


class SegmentDataset(Dataset[dict[str, Tensor]]):
    """All segments of some clips.

    Indexed by number, or by (epoch, number) for an augmented segment: the crop, or of frozen
    tokens the start, depends on seed, epoch and number alone, so that workers and resumed runs
    repeat it.

    Args:
        items: The clips.
        frames: Length of a segment in samples.
        stride: Distance between the starts of segments in samples.
        channels: C of the maps, for clips without one.
        augmentation: Of segments that are asked for with an epoch.
        seed: Of the augmentation.
        noise: Changes the maps, (C, T, H, W) uint8 and the row of the clip in, the same out.
        jitter: By how many frozen tokens an augmented segment may start earlier or later.
    """

    def __init__(
        self,
        items: Sequence[ClipItem],
        frames: int,
        stride: int,
        channels: int = 1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        noise: Noise | None = None,
        jitter: int = 0,
    ) -> None:
        self.items = items
        self.frames = frames
        self.stride = stride
        self.channels = channels
        self.augmentation = augmentation
        self.seed = seed
        self.noise = noise
        self.jitter = jitter
        self.segments = segments_of(columns_of(items).samples, frames, stride)
        self.shows_video = self.shows_maps = True
        self._opened: dict[Path, Tensor] = {}

    def showing(self, *, video: bool, maps: bool) -> SegmentDataset:
        """Returns the same segments for a model that reads no video, or no map: none is loaded.

        In its place is an array that holds nothing, and of the map one blank value.
        """
        shown = copy.copy(self)
        shown.shows_video, shown.shows_maps = video, maps
        return shown

    def of(self, items: Sequence[ClipItem]) -> SegmentDataset:
        """Returns the segments of other clips, made alike."""
        return SegmentDataset(
            items,
            self.frames,
            self.stride,
            self.channels,
            self.augmentation,
            self.seed,
            self.noise,
            self.jitter,
        )

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Tensor]:
        """Returns one segment without the batch axis; video and map are uint8, tokens float16."""
        epoch, index = index if isinstance(index, tuple) else (None, index)
        position, number, start = self.segments[index].tolist()
        item = self.items[position]
        generator = None
        if epoch is not None and self.augmentation is not None:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch, index))
        tokens = item.cached.tokens
        if tokens is not None:
            start = self._token_start(start, item.cached.samples, tokens.step, generator)
        shown = self._shown(item, start)
        if tokens is None and generator is not None and self.augmentation is not None:
            height, width = next(iter(shown.values())).shape[2:]
            crop = random_crop((height, width), self.augmentation, generator)
            shown = {name: crop.apply(own) for name, own in shown.items()}
        if tokens is not None and self.shows_video:
            shown[keys.VIDEO_TOKENS] = self._tokens(tokens, start)
        if item.teacher is not None:
            shown[keys.TEACHER_LOGITS] = item.teacher[number]
        if not self.shows_video:
            shown[keys.VIDEO_TOKENS] = torch.empty(0, 0, 0, 0)
        if not self.shows_maps:
            shown[keys.ATTN_MAP] = torch.zeros((self.channels, 1, 1, 1), dtype=torch.uint8)
        return {
            **shown,
            keys.ATTN_VALID: shown[keys.ATTN_MAP].any().bool(),
            keys.LABEL: torch.tensor(item.label),
            keys.PATIENT: torch.tensor(item.patient),
            keys.SESSION: torch.tensor(item.session),
            keys.CLIP_ROW: torch.tensor(item.row),
            keys.SEGMENT: torch.tensor(number),
            keys.MAP_ID: torch.tensor(item.map_id),
        }

    def _shown(self, item: ClipItem, start: int) -> dict[str, Tensor]:
        """Loads the pictures and maps of a segment, (C, T, H, W) each, that a model reads."""
        shown = {}
        if self.shows_maps:
            shown[keys.ATTN_MAP] = self._map(item, start)
        if item.guide is not None:
            wanted = segment_samples(start, item.cached.samples, self.frames)
            shown[keys.GUIDE_MAP] = self._read(item.guide, wanted, axis=1)
        if self.shows_video and item.cached.tokens is None:
            shown[keys.VIDEO] = self._video(item, start)
        return shown

    def video(self, index: int) -> Tensor:
        """Returns the pictures of a segment, (3, T, H, W) uint8, also where a model sees tokens."""
        position, _, start = self.segments[index].tolist()
        item = self.items[position]
        if (tokens := item.cached.tokens) is not None:
            start = self._token_start(start, item.cached.samples, tokens.step, None)
        return self._video(item, start)

    def _video(self, item: ClipItem, start: int) -> Tensor:
        wanted = segment_samples(start, item.cached.samples, self.frames)
        return self._read(item.cached.frames, wanted).permute(3, 0, 1, 2)

    def _map(self, item: ClipItem, start: int) -> Tensor:
        wanted = segment_samples(start, item.cached.samples, self.frames)
        if item.cached.attn is None:
            height, width = array_shape(item.cached.frames)[1:3]
            return torch.zeros((self.channels, self.frames, height, width), dtype=torch.uint8)
        attn = self._read(item.cached.attn, wanted, axis=1)
        if self.noise is None:
            return attn
        return torch.from_numpy(self.noise(attn.numpy(), item.row))

    def _tokens(self, tokens: CachedTokens, start: int) -> Tensor:
        wanted = segment_samples(start // tokens.step, tokens.steps, self.frames // tokens.step)
        return self._read(tokens.path, wanted).permute(3, 0, 1, 2)

    def _token_start(
        self, start: int, samples: int, step: int, generator: torch.Generator | None
    ) -> int:
        """Moves a segment's start to that of a token, and by the jitter where it is augmented."""
        if generator is not None and self.jitter:
            moved = torch.randint(-self.jitter, self.jitter + 1, (), generator=generator)
            start = min(max(0, start + step * int(moved)), max(0, samples - self.frames))
        return start - start % step

    def _array(self, place: ArrayFile) -> Tensor:
        if isinstance(place, ShardArray):  # which keeps its file open itself
            return place.load()
        if place not in self._opened:
            self._opened[place] = map_array(place)
        return self._opened[place]

    def _read(self, place: ArrayFile, wanted: range | list[int], axis: int = 0) -> Tensor:
        array = self._array(place)
        if isinstance(wanted, range):
            return array.narrow(axis, wanted.start, len(wanted))
        return array.index_select(axis, torch.tensor(wanted))

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the opened files behind: each worker process maps them itself."""
        return {**self.__dict__, "_opened": {}}


def segments_of(samples: NDArray[np.int64], frames: int, stride: int) -> NDArray[np.int64]:
    """Plans the segments of clips.

    Args:
        samples: (N,) length of each clip.
        frames: Length of a segment in samples.
        stride: Distance between the starts of segments in samples.

    Returns:
        (M, 3): which clip, which of its segments, and its first sample; clip by clip.
    """
    lengths, of_clip = np.unique(samples, return_inverse=True)
    plans = [plan_segments(length, frames, stride) for length in lengths.tolist()]
    counts = np.array([len(plan) for plan in plans], np.int64)[of_clip]
    position = np.repeat(np.arange(len(samples)), counts)
    number = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
    most = max(map(len, plans), default=1)
    starts = np.array([plan + [0] * (most - len(plan)) for plan in plans], np.int64)
    start = starts.reshape(-1, most)[of_clip[position], number]
    return np.stack([position, number, start], axis=1)


def collate(segments: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stacks segments to a batch.

    Video and tokens keep the channels-last layout that they are stored in, in which convolutions
    run fastest.
    """
    batch = {}
    for name in segments[0]:
        parts = [segment[name] for segment in segments]
        if name in (keys.VIDEO, keys.VIDEO_TOKENS):
            stored = torch.stack([part.permute(1, 2, 3, 0) for part in parts])
            batch[name] = stored.permute(0, 4, 1, 2, 3)
        else:
            batch[name] = torch.stack(parts)
    return batch
