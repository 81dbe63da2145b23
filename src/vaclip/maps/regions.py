"""``kind = region``: a named place of study.yaml, drawn from joints or as a box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vaclip.errors import VaclipError, did_you_mean
from vaclip.maps.keypoints import load_keypoints
from vaclip.maps.source import AnnotatedClip, Drawer, Grid, MapSource


class RegionMap(MapSource):
    """Draws a region as Gaussians at its joints, weighted by confidence, or as a filled box."""

    def problem(self, value: str, clip: AnnotatedClip) -> str | None:
        region = clip.regions.get(value)
        if region is None:
            known = ", ".join(clip.regions) or "none"
            hint = did_you_mean(value, clip.regions)
            return f"unknown region '{value}' (regions of study.yaml: {known}).{hint}"
        if region.keypoints and clip.keypoints is None:
            return (
                f"region '{value}' is drawn from joints, but the clip names no file in the "
                "column 'keypoints' of clips.csv"
            )
        return None

    def files(self, value: str, clip: AnnotatedClip) -> list[Path]:
        joints = clip.regions[value].keypoints
        return [clip.keypoints] if joints and clip.keypoints else []

    def render(self, value: str, clip: AnnotatedClip, grid: Grid) -> NDArray[np.float32]:
        return self.drawer(value, clip)(grid)

    def drawer(self, value: str, clip: AnnotatedClip) -> Drawer:
        region = clip.regions[value]
        if region.box is not None:
            box = region.box
            return lambda grid: np.broadcast_to(
                draw_box(box, grid.size), (len(grid.frame_index), *grid.size)
            )
        path = clip.keypoints
        assert path is not None  # `problem` was asked on load
        keypoints = load_keypoints(path)
        if keypoints.shape[1] != len(clip.keypoint_names):
            raise VaclipError(
                f"{path.name} has {keypoints.shape[1]} joints, but the study has "
                f"{len(clip.keypoint_names)} joint names; list them as 'keypoint_names' in "
                "study.yaml"
            )
        joints = [clip.keypoint_names.index(name) for name in region.keypoints]

        def draw(grid: Grid) -> NDArray[np.float32]:
            grid.check_length(len(keypoints), path.name)
            return draw_joints(keypoints[grid.frame_index][:, joints], grid)

        return draw


def draw_box(box: tuple[float, float, float, float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Returns (H, W): each pixel's share that the box covers."""
    x0, y0, x1, y1 = box
    rows = _covered(y0 * size[0], y1 * size[0], size[0])
    columns = _covered(x0 * size[1], x1 * size[1], size[1])
    return np.outer(rows, columns).astype(np.float32)


def _covered(start: float, end: float, length: int) -> NDArray[np.float64]:
    edges = np.arange(length + 1)
    return np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0.0, 1.0)


def draw_joints(joints: NDArray[np.float32], grid: Grid) -> NDArray[np.float32]:
    """Draws Gaussians of height = confidence; where they overlap the largest counts.

    Args:
        joints: (S, J, 3): x, y in pixels of the video, confidence.
        grid: Where to draw; a Gaussian is round in the video's own pixels.

    Returns:
        (S, H, W) in [0, 1].
    """
    height, width = grid.source_size
    sigma = grid.keypoint_sigma * height
    pixel_y = (np.arange(grid.size[0], dtype=np.float32) + 0.5) * height / grid.size[0]
    pixel_x = (np.arange(grid.size[1], dtype=np.float32) + 0.5) * width / grid.size[1]
    x, y, confidence = np.moveaxis(joints, -1, 0)[..., None]
    rows = confidence * np.exp(-0.5 * ((pixel_y - y) / sigma) ** 2)
    columns = np.exp(-0.5 * ((pixel_x - x) / sigma) ** 2)
    return np.max(rows[..., :, None] * columns[..., None, :], axis=1)
