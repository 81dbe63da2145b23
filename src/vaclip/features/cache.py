"""Encode once: each clip's tokens lie on disk as a memory-mapped float16 array.

The entries lie beside those of `vaclip.data.cache` and are made as they are: named by a hash of
the video's bytes, the sampling and the encoder's weights, and renamed into place when they are
whole. An entry whose content is not what was written is made anew.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vaclip.data.cache import (
    CachedClip,
    CachedTokens,
    file_digest,
)
from vaclip.data.entries import META, entry_path, read_entry
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError, counted
from vaclip.features.base import EncoderInfo, FrozenEncoder
from vaclip.files import atomic_folder, content_digest
from vaclip.study.study import Clip

_VERSION = 1  # raise it when decoding, preparing or averaging changes
_LOG = logging.getLogger(__name__)
_ARRAY = "tokens"
_PICTURES = 32  # encoded at a time
_GIB = 2**30


@dataclass(frozen=True)
class TokenSettings:
    """How an encoder is shown a clip, and what is kept; part of every entry's address.

    Attributes:
        fps: Samples a second.
        every: A picture encoder sees every so many samples.
        grid: (H', W') that tokens are averaged to; None for the encoder's own.
    """

    fps: float
    every: int = 1
    grid: tuple[int, int] | None = None

    def step(self, info: EncoderInfo) -> int:
        """Returns how many samples a token covers."""
        return info.step * self.every

    def check(self, info: EncoderInfo) -> None:
        """Raises a VaclipError where they do not fit the encoder."""
        if self.every > 1 and info.window > 1:
            raise VaclipError(
                f"features.every is {self.every}, but {info.source} sees {info.window} samples at "
                "a time and leaves none out; use features.every=1, and data.fps for fewer"
            )
        if self.grid and (self.grid[0] > info.grid[0] or self.grid[1] > info.grid[1]):
            raise VaclipError(
                f"features.grid is {list(self.grid)}, but {info.source} gives {list(info.grid)} "
                "tokens; it can only be averaged to fewer"
            )


def cache_tokens(
    clips: Sequence[CachedClip],
    encoder: FrozenEncoder,
    settings: TokenSettings,
    root: Path,
    *,
    study: str = "",
    limit_gb: float | None = None,
    workers: int = -1,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[CachedClip]:
    """Makes every entry that is not there yet.

    Args:
        clips: The clips.
        encoder: What encodes them; loaded only where something is missing.
        settings: What of them.
        root: The cache folder, `vaclip.data.cache.clip_cache`.
        study: Its name, which an entry notes for `vaclip cache`.
        limit_gb: GiB that may be written; None for what the disk has free.
        workers: Processes on a CPU; -1 for one a core.
        device: Of torch.
        progress: Called with (done, total) of the missing clips.

    Returns:
        The clips in their order, with tokens.

    Raises:
        VaclipError: If the settings do not fit the encoder, the tokens the disk, or a clip cannot
            be encoded; the message names every one of these.
    """
    info = encoder.info
    settings.check(info)
    entries = [_entry(clip.clip, info, settings, root) for clip in clips]
    missing = {
        entry: clip for entry, clip in zip(entries, clips, strict=True) if not _sound(entry, root)
    }
    if missing:
        _check_room(list(missing.values()), info, settings, root, limit_gb)
    jobs = (
        joblib.delayed(_try_encode)(clip, encoder, settings, entry, study, device)
        for entry, clip in missing.items()
    )
    alone = device != "cpu" or len(missing) <= 1
    pool = joblib.Parallel(n_jobs=1 if alone else workers, return_as="generator_unordered")
    failures = []
    for done, failure in enumerate(pool(jobs), start=1):
        failures += [failure] if failure else []
        if progress:
            progress(done, len(missing))
    if failures:
        listed = "\n".join(f"  {failure}" for failure in sorted(failures))
        raise VaclipError(f"{counted(len(failures), 'clip')} cannot be encoded:\n{listed}")
    step = settings.step(info)
    return [
        dataclasses.replace(
            clip, tokens=CachedTokens(entry / f"{_ARRAY}.npy", -(-clip.samples // step), step)
        )
        for entry, clip in zip(entries, clips, strict=True)
    ]


def token_bytes(clip: CachedClip, info: EncoderInfo, settings: TokenSettings) -> int:
    """Returns how large a clip's tokens are."""
    height, width = settings.grid or info.grid
    return 2 * -(-clip.samples // settings.step(info)) * height * width * info.channels


def _entry(clip: Clip, info: EncoderInfo, settings: TokenSettings, root: Path) -> Path:
    source = {
        "version": _VERSION,
        "video": file_digest(clip.video, root),
        "span": [clip.start_s, clip.end_s],
        "weights": info.weights,
        "shown": [info.size, info.mean, info.std, info.window, info.step],
        "fps": settings.fps,
        "every": settings.every,
        "grid": settings.grid or info.grid,
    }
    return entry_path(root, "tokens", source)


def _sound(entry: Path, root: Path) -> bool:
    """Whether an entry is there as it was written; a damaged one is removed."""
    file = entry / f"{_ARRAY}.npy"
    found = read_entry(entry, (_ARRAY,), lambda meta: meta.get("sha256") == file_digest(file, root))
    return found is not None


def _check_room(
    clips: Sequence[CachedClip],
    info: EncoderInfo,
    settings: TokenSettings,
    root: Path,
    limit_gb: float | None,
) -> None:
    """Tells how much will be written, and refuses more than there is room for."""
    needed = sum(token_bytes(clip, info, settings) for clip in clips)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    room = free if limit_gb is None else min(free, int(limit_gb * _GIB))
    told = (
        f"the tokens of {counted(len(clips), 'clip')} by {info.source} take {needed / _GIB:.2f} "
        f"GiB ({needed / len(clips) / 2**20:.1f} MiB a clip)"
    )
    if needed > room:
        whose = f"{root} has {free / _GIB:.2f} GiB free"
        if room < free:
            whose = f"features.limit_gb is {limit_gb:g}"
        raise VaclipError(
            f"{told}, and {whose}. Use a smaller features.grid or a larger features.every, remove "
            "what is not needed (vaclip cache), or name another place with data.cache_dir"
        )
    _LOG.info("%s", told)


def _try_encode(
    clip: CachedClip,
    encoder: FrozenEncoder,
    settings: TokenSettings,
    entry: Path,
    study: str,
    device: str,
) -> str | None:
    try:
        _encode_entry(clip, encoder, settings, entry, study, device)
    except VaclipError as error:
        return f"{clip.clip.where}: clip '{clip.clip.clip_id}': {error}"
    return None


def _encode_entry(
    cached: CachedClip,
    encoder: FrozenEncoder,
    settings: TokenSettings,
    entry: Path,
    study: str,
    device: str,
) -> None:
    info, clip = encoder.info, cached.clip
    decoded = decode_clip(
        clip.video, fps=settings.fps, size=info.size, start_s=clip.start_s, end_s=clip.end_s
    )
    network = _loaded(encoder, device)
    left = -(-len(decoded.frames) // settings.step(info))
    shape = (left, *(settings.grid or info.grid), info.channels)
    with atomic_folder(entry) as temporary:
        file = temporary / f"{_ARRAY}.npy"
        with file.open("wb") as array:  # mapped, a full disk would kill the process
            head = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(array, head)
            for tokens in encode(network, info, settings, decoded.frames, device):
                kept = tokens[:left]
                array.write(np.ascontiguousarray(kept).data)
                left -= len(kept)
        meta = {
            "study": study,
            "source": info.source,
            "licence": info.licence,
            "sha256": content_digest(file),
        }
        (temporary / META).write_text(json.dumps(meta))


def encode(
    network: nn.Module,
    info: EncoderInfo,
    settings: TokenSettings,
    frames: NDArray[np.uint8],
    device: str = "cpu",
) -> Iterator[NDArray[np.float16]]:
    """Yields a clip's tokens, (n, H', W', D) at a time.

    A last window that the clip does not fill holds the clip's last picture.

    Args:
        network: Of the encoder, on the device.
        info: Of the encoder.
        settings: What is shown and kept.
        frames: (S, H, W, 3) RGB of the encoder's size.
        device: Of torch.

    Raises:
        VaclipError: If what the network gives is not what ``info`` says, or too large a number.
    """
    frames = frames[:: settings.every]
    mean, std = (torch.tensor(own, device=device).view(3, 1, 1, 1) for own in (info.mean, info.std))
    windows = -(-len(frames) // info.window)
    at_once = max(1, _PICTURES // info.window)
    for begin in range(0, windows, at_once):
        wanted = np.arange(begin * info.window, min(begin + at_once, windows) * info.window)
        shown = torch.from_numpy(frames[np.minimum(wanted, len(frames) - 1)]).to(device)
        pictures = shown.unflatten(0, (-1, info.window)).permute(0, 4, 1, 2, 3)
        pictures = (pictures.float() / 255 - mean) / std
        with torch.inference_mode():
            tokens = network(pictures[:, :, 0]) if info.window == 1 else network(pictures)
        yield _kept(tokens, info, settings, len(pictures))


def _kept(
    tokens: Tensor, info: EncoderInfo, settings: TokenSettings, windows: int
) -> NDArray[np.float16]:
    if info.window == 1:
        tokens = tokens.unsqueeze(2)
    expected = (windows, info.channels, info.window // info.step, *info.grid)
    if tokens.shape != expected:
        raise VaclipError(
            f"{info.source} gives tokens of {tuple(tokens.shape)} where it states {expected}"
        )
    tokens = tokens.transpose(1, 2).flatten(0, 1).float()
    averaged = F.adaptive_avg_pool2d(tokens, settings.grid or info.grid).half()
    if not averaged.isfinite().all():
        raise VaclipError(f"{info.source} gives tokens that are not finite, or beyond float16")
    return averaged.permute(0, 2, 3, 1).cpu().numpy()


@lru_cache(maxsize=1)
def _loaded(encoder: FrozenEncoder, device: str) -> nn.Module:
    """Loads an encoder once a process."""
    return encoder.network().to(device)
