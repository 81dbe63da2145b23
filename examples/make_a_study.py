"""Makes a small study folder of your own shape, checks it, and reads it back.

python examples/make_a_study.py FOLDER
"""

import csv
import sys
from pathlib import Path

import av
import numpy as np

import vaclip as vc

STUDY = """\
name: dots
classes: [left, right]
regions:
  left_half:  {box: [0.0, 0.0, 0.5, 1.0]}
  right_half: {box: [0.5, 0.0, 1.0, 1.0]}
"""


def write_clip(path: Path, side: str, seed: int) -> None:
    """A dot that hops about in one half of the picture, for two seconds."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(32):
            picture = random.integers(0, 80, (64, 64, 3), dtype=np.uint8)
            x = random.integers(2, 26) + (32 if side == "right" else 0)
            y = random.integers(2, 58)
            picture[y : y + 5, x : x + 5] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(STUDY)
    with (
        (folder / "clips.csv").open("w", newline="") as clips_file,
        (folder / "attention.csv").open("w", newline="") as annotations_file,
    ):
        clips, annotations = csv.writer(clips_file), csv.writer(annotations_file)
        clips.writerow(["clip_id", "video", "patient_id", "label"])
        annotations.writerow(["clip_id", "annotator", "kind", "value"])
        for patient in range(12):
            side = "left" if patient % 2 else "right"
            video = f"videos/p{patient}.mp4"
            write_clip(folder / video, side, seed=patient)
            clips.writerow([f"c{patient}", video, f"p{patient}", side])
            annotations.writerow([f"c{patient}", "me", "region", f"{side}_half"])

    print(vc.load_study(folder))
    print(vc.check(folder))
    print(f"now: vaclip train data=folder data.root={folder} debug=smoke")


if __name__ == "__main__":
    main()
