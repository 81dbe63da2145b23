"""``kind = map``: a drawn map, as an .npy or .npz array or as a grey video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import LARGEST_ARRAYS, inside_folder, read_arrays
from vaclip.maps.source import AnnotatedClip, Drawer, FileMap, Grid, Timing

_AT_ONCE = 1 << 17  # pixels whose range is checked


class ArrayMap(FileMap):
    """Reads a map file: one picture for the whole clip, or one a frame of the video."""

    def look_at(self, path: Path, value: str) -> None:
        return  # it is large

    def timing(self, value: str, clip: AnnotatedClip) -> Timing | None:
        frames = len(load_map(inside_folder(clip.root, value), value))
        return Timing("frame", frames) if frames > 1 else None

    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        return self.drawer(value, clip)(grid)

    def drawer(self, value: str, clip: AnnotatedClip) -> Drawer:
        frames = load_map(inside_folder(clip.root, value), value)
        _check_range(frames, value)

        def draw(grid: Grid) -> NDArray[np.float32]:
            if len(frames) == 1:
                resized = resize_area(_in_unit_range(frames), grid.size)
                return np.broadcast_to(resized, (len(grid.frame_index), *grid.size))
            grid.check_length(len(frames), f"map '{value}'")
            return resize_area(_in_unit_range(frames[grid.frame_index]), grid.size)

        return draw


def load_map(path: Path, name: str) -> NDArray[Any]:
    """Reads a map as (T, H, W) in its own number format; an .npy file is mapped into memory.

    An .npz file holds the array ``map``, or only one array.

    Raises:
        VaclipError: If it cannot be read or has another number of dimensions.
    """
    if path.suffix.lower() not in (".npy", ".npz"):
        return _load_grey_video(path, name)
    loaded = read_arrays(path, mapped=True)
    if isinstance(loaded, dict):
        if "map" not in loaded and len(loaded) != 1:
            raise VaclipError(f"map '{name}' holds {len(loaded)} arrays and none is named 'map'")
        loaded = loaded.get("map", next(iter(loaded.values()), None))
    if loaded.dtype.kind not in "fiub":
        raise VaclipError(f"map '{name}' is an array of {loaded.dtype}, not of numbers")
    if loaded.ndim == 2:
        loaded = loaded[None]
    if loaded.ndim != 3 or 0 in loaded.shape:
        raise VaclipError(f"map '{name}' has shape {loaded.shape}; expected (T, H, W) or (H, W)")
    return loaded


def _load_grey_video(path: Path, name: str) -> NDArray[np.uint8]:
    import av  # here, so that reading a study does not wait for it

    from vaclip.media import failure, open_video

    what = f"map '{name}'"
    frames: list[NDArray[np.uint8]] = []
    size = 0
    try:
        container = open_video(path, picture=True)
    except VaclipError as error:
        raise VaclipError(f"{what} is neither an array nor a video: {error}") from error
    with container:
        try:
            for frame in container.decode(video=0):
                size += frame.width * frame.height
                if size > LARGEST_ARRAYS:
                    raise VaclipError(
                        f"{what} has more than {LARGEST_ARRAYS >> 30} GiB of pictures; make them "
                        "smaller: maps are resized to data.size anyway"
                    )
                frames.append(frame.to_ndarray(format="gray").astype(np.uint8, copy=False))
        except av.FFmpegError as error:
            raise failure(what, error, len(frames)) from error
    if not frames:
        raise VaclipError(f"{what} holds no frame")
    if len({frame.shape for frame in frames}) > 1:
        raise VaclipError(f"{what} has frames of different sizes")
    return np.stack(frames)


def _check_range(frames: NDArray[Any], name: str) -> None:
    """Raises a VaclipError where a value is no share of attention; looks at a part at a time."""
    if frames.dtype == np.uint8:
        return
    step = max(1, _AT_ONCE // frames[0].size)
    least, most = np.inf, -np.inf
    for first in range(0, len(frames), step):
        part = frames[first : first + step].astype(np.float32)
        if not np.isfinite(part).all():
            frame, *place = np.argwhere(~np.isfinite(part))[0].tolist()
            index = [first + frame, *place]
            raise VaclipError(f"map '{name}' holds a value that is not finite, first at {index}")
        least, most = min(least, part.min()), max(most, part.max())
    if least < 0 or most > 1:
        raise VaclipError(
            f"map '{name}' ranges from {least:g} to {most:g}; "
            "save it in [0, 1], or as uint8 in [0, 255]"
        )


def _in_unit_range(frames: NDArray[Any]) -> NDArray[np.float32]:
    return frames.astype(np.float32) / (255 if frames.dtype == np.uint8 else 1)


def resize_area(frames: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resizes (T, H, W) to (T, *size), averaging where it shrinks."""
    import torch  # here, so that reading a study does not wait for it

    tensor = torch.from_numpy(np.ascontiguousarray(frames))[:, None]
    resized = torch.nn.functional.interpolate(
        tensor, size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return resized[:, 0].clamp_(0, 1).numpy()
