"""Two patients in the published layout; a clip and a video lack their partners."""

import json
import pickle

import numpy as np
from cases import Case, Video

FILE = "seg_skeleton_pkl/whole_annotations.pkl"
HEAD, SHOULDERS, WRISTS, HIPS, ANKLES = (0, 1, 2, 3, 4), (5, 6), (9, 10), (11, 12), (15, 16)


def pose(frames):
    """Fractions of the picture: hips in the middle of the square, wrists not found."""
    left = np.array([round(number * (64 - 12) / (frames - 1)) for number in range(frames)])
    keypoint = np.zeros((1, frames, 17, 2), np.float32)
    keypoint[0, :, :, 0] = (left[:, None] + 6) / 64
    for joints, y in ((HEAD, 8), (SHOULDERS, 16), ((7, 8), 24), (HIPS, 30), ((13, 14), 38),
                      (ANKLES, 46)):  # fmt: skip
        keypoint[0, :, joints, 1] = y / 48
    keypoint[0, :, WRISTS] = -1
    return keypoint, np.full((1, frames, 17), 0.9, np.float32)


def prepare(folder):
    annotations = []
    for file in sorted(folder.glob("json_mix/*/*.json")):
        info = json.loads(file.read_text())
        keypoint, score = pose(info["frame_count"])
        if file.stem.endswith("-0009"):
            continue
        annotations.append({
            "keypoint": keypoint, "keypoint_score": score, "frame_dir": info["video_path"],
            "img_shape": (48, 64), "original_shape": (48, 64),
            "total_frames": info["frame_count"], "label": info["label"],
        })  # fmt: skip
    split = {"train": [one["frame_dir"] for one in annotations], "val": []}
    (folder / FILE).parent.mkdir()
    (folder / FILE).write_bytes(pickle.dumps({"annotations": annotations, "split": split}))


CASE = Case(
    kind="clinicalclip",
    sources=(".",),
    videos={
        "video/train/ill/20200101_ill_lat__V1-0001.mkv": Video(),
        "video/train/ill/20200101_ill_lat__V1-0002.mkv": Video(frames=12),
        "video/val/well/20200203_well_lat_-0001.mkv": Video(),
        "video/val/well/20200203_well_lat_-0002.mkv": Video(),
    },
    flags=("--patient-regex", "^(?P<patient>[^-]+)-", "--keypoint-unit", "fraction"),
    golden=("20200101_ill_lat__V1-0001", "doctor1", 5),
    prepare=prepare,
)
