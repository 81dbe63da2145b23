"""How fast `vaclip view` answers for a study of many clips.

    python benchmarks/view.py [--clips 1000]

Writes a study of clips of 2 s (320 x 240, H.264), starts the server's application in this process
and asks it as a browser would: each page of clips, the small pictures of one page when they are
made and when they are there, and clips with their maps. Milliseconds are medians.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import av
import numpy as np
import yaml
from starlette.testclient import TestClient

from vaclip.view.server import view_app
from vaclip.view.shelf import PER_PAGE

TOKEN = "benchmark"
SIZE, FPS, FRAMES = (240, 320), 10, 20
DIFFERENT = 20  # videos that are encoded; the others are copies


def write_study(root: Path, clips: int) -> list[str]:
    """Writes the study, and returns the ids of its clips."""
    (root / "videos").mkdir(parents=True)
    random, videos = np.random.default_rng(0), []
    for number in range(min(DIFFERENT, clips)):
        path = root / f"videos/{number}.mp4"
        small = random.integers(0, 256, (FRAMES, 12, 16, 3), np.uint8)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
            for picture in small.repeat(20, axis=1).repeat(20, axis=2):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        videos.append(path.read_bytes())
    ids = [f"clip{number:05}" for number in range(clips)]
    rows, said = ["clip_id,video,patient_id,label"], ["clip_id,annotator,kind,value"]
    for number, clip_id in enumerate(ids):
        (root / f"videos/{number}.mp4").write_bytes(videos[number % len(videos)])
        rows.append(f"{clip_id},videos/{number}.mp4,p{number // 4},{'ab'[number // 4 % 2]}")
        said += [f"{clip_id},{who},region,top" for who in ("ann", "bob")]
    head = {"name": "many", "classes": ["a", "b"], "regions": {"top": {"box": [0, 0, 1, 0.5]}}}
    (root / "study.yaml").write_text(yaml.safe_dump(head))
    (root / "clips.csv").write_text("\n".join(rows) + "\n")
    (root / "attention.csv").write_text("\n".join(said) + "\n")
    return ids


def median_ms(ask: Callable[[str], object], paths: list[str]) -> float:
    """Returns the median time of an answer."""
    taken = []
    for path in paths:
        begin = time.perf_counter()
        ask(path)
        taken.append(time.perf_counter() - begin)
    return 1000 * float(np.median(taken))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "study")
        ids = write_study(root, options.clips)
        begin = time.perf_counter()
        app = view_app(root, TOKEN, cache_dir=str(Path(scratch, "cache")))
        started = time.perf_counter() - begin
        with TestClient(app, base_url="http://127.0.0.1") as client:
            client.cookies.set("vaclip_view", TOKEN)

            def ask(path: str) -> None:
                client.get(path).raise_for_status()

            pages = [f"/?page={number + 1}" for number in range(-(-len(ids) // PER_PAGE))]
            pictures = [f"/thumbnail?{urlencode({'id': one})}" for one in ids[:PER_PAGE]]
            clips = [f"/clip?{urlencode({'id': one})}" for one in ids[:20]]
            found = {
                "start of the server": 1000 * started,
                "a page of clips": median_ms(ask, pages),
                "a small picture, made": median_ms(ask, pictures),
                "a small picture, there": median_ms(ask, pictures),
                "a clip with its maps": median_ms(ask, clips),
            }
    print(f"| {options.clips} clips | ms |\n|---|---|")
    for what, value in found.items():
        print(f"| {what} | {value:.1f} |")


if __name__ == "__main__":
    main()
