"""How near copies of a clip are, and how near clips of different patients.

    python benchmarks/near_duplicates.py [STUDY ...] [--clips 24] [--seed 0]

Of the default cohort where no study folder is given. Some clips are decoded, changed, encoded anew
and compared with their originals; all clips of different patients are compared with each other.
What comparing many clips costs: tables.py.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaclip.audit import duplicates
from vaclip.cohort.synthetic_gait import GaitCohort
from vaclip.cohort.write_gait import cohort_folder
from vaclip.data.video import decode_clip, timed_frames
from vaclip.files import cache_root
from vaclip.study.load import load_study
from vaclip.study.study import Clip

FPS, SIZE = 8, (96, 96)  # of the default settings
SIDES = (8, 12, 16)
Pictures = list[NDArray[np.uint8]]


def smaller(pictures: Pictures) -> Pictures:
    sizes = [(p.shape[1] // 2, p.shape[0] // 2) for p in pictures]
    return [np.asarray(Image.fromarray(p).resize(s)) for p, s in zip(pictures, sizes, strict=True)]


def lighter(pictures: Pictures) -> Pictures:
    return [np.clip(0.8 * p + 30, 0, 255).astype(np.uint8) for p in pictures]


def copies(pictures: Pictures, fps: float) -> Iterator[tuple[str, Pictures, float, int]]:
    """Yields what was done, the pictures, their rate, and the rate factor of x264."""
    later = pictures[len(pictures) // 3 :]
    yield "strongly compressed (CRF 38)", pictures, fps, 38
    yield "half the size", smaller(pictures), fps, 28
    yield "less contrast, lighter", lighter(pictures), fps, 28
    yield "without the first third", later, fps, 28
    yield "all of it, and half the frame rate", lighter(smaller(later))[::2], fps / 2, 38


def write_h264(path: Path, pictures: Pictures, fps: float, crf: int) -> None:
    height, width = (side - side % 2 for side in pictures[0].shape[:2])
    with av.open(str(path), "w") as container:
        rate = Fraction(fps).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for picture in pictures:
            cut = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        container.mux(stream.encode())


def made_copies(clip: Clip, scratch: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    with av.open(str(clip.video)) as container:
        fps = float(container.streams.video[0].average_rate or 25)
    pictures = [frame.to_ndarray(format="rgb24") for frame, _ in timed_frames(clip.video)]
    for what, changed, rate, crf in copies(pictures, fps):
        write_h264(scratch / "copy.mp4", changed, rate, crf)
        yield what, decode_clip(scratch / "copy.mp4", fps=FPS, size=SIZE).frames


def measure(root: Path, clips: int, seed: int) -> None:
    study = load_study(root)
    frames = [
        decode_clip(c.video, fps=FPS, size=SIZE, start_s=c.start_s, end_s=c.end_s).frames
        for c in study.clips
    ]
    patient = np.array([clip.patient_id for clip in study.clips])
    random = np.random.default_rng(seed)
    chosen = random.choice(len(frames), min(clips, len(frames)), replace=False)
    with tempfile.TemporaryDirectory() as scratch:
        made = [
            (int(n), *copy) for n in chosen for copy in made_copies(study.clips[n], Path(scratch))
        ]
    for side in SIDES:
        duplicates.SIDE, duplicates.BITS = side, side * side - 1
        hashes = [duplicates.frame_hashes(own) for own in frames]
        apart = np.array([
            duplicates.clip_distance(hashes[i], hashes[j])
            for i, j in zip(*np.nonzero(np.triu(patient[:, None] != patient)), strict=True)
        ])  # fmt: skip
        quantiles = np.quantile(apart, [0, 0.001, 0.01])
        print(
            f"\n{study.name}, {side} x {side}: {len(apart)} pairs of different patients, "
            f"{(apart <= duplicates.NEAR).sum()} of them at most {duplicates.NEAR} apart; "
            "least {:.3f}, 0.1 % below {:.3f}, 1 % below {:.3f}".format(*quantiles)
        )
        print("\n| copy | median | largest | found |\n|---|---|---|---|")
        for what in dict.fromkeys(what for _, what, _ in made):
            far = np.array([
                duplicates.clip_distance(hashes[n], duplicates.frame_hashes(copy))
                for n, own, copy in made
                if own == what
            ])  # fmt: skip
            found = f"{(far <= duplicates.NEAR).sum()} of {len(far)}"
            print(f"| {what} | {np.median(far):.3f} | {far.max():.3f} | {found} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", type=Path, nargs="*")
    parser.add_argument("--clips", type=int, default=24, help="how many are copied")
    parser.add_argument("--seed", type=int, default=0, help="of the cohort, and of which clips")
    options = parser.parse_args()
    cohort = GaitCohort(truth="leaks", seed=options.seed)
    for root in options.studies or [cohort_folder(cohort, cache_root())]:
        measure(root, options.clips, options.seed)


if __name__ == "__main__":
    main()
