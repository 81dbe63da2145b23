"""How long moving outlines of many points take.

    python benchmarks/outlines.py [--points 10000] [--moments 32]

Draws a ragged outline that moves from moment to moment, at 96 x 96, once as each kind of shape, and
prints CPU seconds, also relative to a tenth of the points.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from vaclip.files import write_json
from vaclip.maps.shapes import Key, Shapes, Track, shapes_json
from vaclip.maps.source import AnnotatedClip, Grid, map_source

SIZE = (480, 640)


def outline(points: int, right: float) -> tuple[tuple[float, float], ...]:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = 100 + 20 * np.sin(7 * angle) + np.random.default_rng(0).normal(0, 1, points)
    places = np.stack([260 + right + radius * np.cos(angle), 240 + radius * np.sin(angle)], axis=1)
    return tuple(map(tuple, places.tolist()))


def seconds(kind: str, points: int, moments: int) -> float:
    """Returns the CPU time of drawing, the reading of the file left out."""
    frames = np.arange(moments)
    grid = Grid(frames, frames / 8, 1 / 8, moments, True, SIZE, (96, 96))
    keys = (Key(0, outline(points, 0)), Key(moments, outline(points, 120)))
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder, "s.json"), shapes_json(Shapes(SIZE, (Track("", kind, keys),))))
        draw = map_source("shapes").drawer("s.json", AnnotatedClip("c", Path(folder)))
    begin = time.process_time()
    draw(grid)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--moments", type=int, default=32)
    options = parser.parse_args()
    seconds("polygon", 10, 1)  # imports
    print("| kind | CPU seconds | relative to a tenth of the points |\n|---|---|---|")
    for kind in ("polygon", "polyline", "points"):
        few, many = (
            seconds(kind, n, options.moments) for n in (options.points // 10, options.points)
        )
        print(f"| {kind} | {many:.2f} | {many / few:.1f} |")


if __name__ == "__main__":
    main()
