"""``kind = map``: a drawn map, as an .npy or .npz array or as a grey video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError
from vaclip.files import LARGEST_ARRAYS, inside_folder, read_arrays
from vaclip.maps.source import AnnotatedClip, FileMap, Grid, Timing


class ArrayMap(FileMap):
    """Reads a map file: one picture for the whole clip, or one a frame of the video."""

    def look_at(self, path: Path, value: str) -> None:
        if not path.is_file():
            raise VaclipError(f"there is no file '{value}' in the study folder")

    def timing(self, value: str, clip: AnnotatedClip) -> Timing | None:
        frames = len(load_map(inside_folder(clip.root, value), value))
        return Timing("frame", frames) if frames > 1 else None

    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        frames = _in_unit_range(load_map(inside_folder(clip.root, value), value), value)
        if len(frames) != 1:
            grid.check_length(len(frames), f"map '{value}'")
            frames = frames[grid.frame_index]
        resized = resize_area(frames, grid.size)
        return np.broadcast_to(resized, (len(grid.frame_index), *grid.size))


def load_map(path: Path, name: str) -> NDArray[Any]:
    """Reads a map as (T, H, W) in its own number format.

    An .npz file holds the array ``map``, or only one array.

    Raises:
        VaclipError: If it cannot be read or has another number of dimensions.
    """
    if path.suffix.lower() not in (".npy", ".npz"):
        return _load_grey_video(path, name)
    loaded = read_arrays(path)
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


def _in_unit_range(frames: NDArray[Any], name: str) -> NDArray[np.float32]:
    if frames.dtype == np.uint8:
        return frames.astype(np.float32) / 255
    frames = frames.astype(np.float32)
    if not np.isfinite(frames).all():
        index = np.argwhere(~np.isfinite(frames))[0].tolist()
        raise VaclipError(f"map '{name}' holds a value that is not finite, first at {index}")
    if frames.min() < 0 or frames.max() > 1:
        raise VaclipError(
            f"map '{name}' ranges from {frames.min():g} to {frames.max():g}; "
            "save it in [0, 1], or as uint8 in [0, 255]"
        )
    return frames


def resize_area(frames: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resizes (T, H, W) to (T, *size), averaging where it shrinks."""
    import torch  # here, so that reading a study does not wait for it

    tensor = torch.from_numpy(np.ascontiguousarray(frames))[:, None]
    resized = torch.nn.functional.interpolate(
        tensor, size=size, mode="bilinear", antialias=True, align_corners=False
    )
    return resized[:, 0].clamp_(0, 1).numpy()
