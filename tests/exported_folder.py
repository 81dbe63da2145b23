"""A tiny folder as `vaclip export` writes one: its model tells the colour of a video.

Its predict.py holds what a real one does, and traps: a grey video of a level in `TRAPS` does to the
process what damaged files can do to it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx.parser
from onnx import ModelProto, save

from conftest import write_video

CLASSES = ("red", "green", "blue")
FRAMES, SIDE = 8, 32
MEAN, STD = 0.5, 0.25
TRAPS = {"sleep": 10, "kill": 20, "memory": 30, "bug": 40, "write": 50, "shout": 60, "nan": 70}
SECRET = "Doe^Jane"

_MODEL = """
<ir_version: 8, opset_import: ["": 17]>
colours (float[S, 3, 8, 32, 32] segments) => (float[3] probabilities, float[S, 4, 4, 4] maps)
<int64[4] shape = {-1, 4, 4, 4}, float sharp = {10.0}>
{
    means = ReduceMean <axes = [0, 2, 3, 4], keepdims = 0> (segments)
    probabilities = Softmax <axis = 0> (means)
    grey = ReduceMean <axes = [1], keepdims = 1> (segments)
    pooled = AveragePool <kernel_shape = [2, 8, 8], strides = [2, 8, 8]> (grey)
    sharper = Mul (pooled, sharp)
    flat = Flatten <axis = 1> (sharper)
    shares = Softmax <axis = 1> (flat)
    maps = Reshape (shares, shape)
}
"""

_PREDICT = """
import json
import os
import signal
import sys
import time
from pathlib import Path

import av
import numpy as np
import onnxruntime


class Model:
    def __init__(self, folder):
        self.settings = json.loads((folder / "model.json").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / "model.onnx", options)

    def predict(self, segments, maps=None):
        if self.settings["nan"] in segments:
            return np.full(3, np.nan), None
        return self.session.run(None, {"segments": segments})


    def pictures(self, shown):
        return shown.reshape(-1, 8, 32, 32, 3)

    def segments(self, shown):
        pixels = (self.pictures(shown).astype(np.float32) / 255 - 0.5) / 0.25
        return pixels.transpose(0, 4, 1, 2, 3).copy()


def load(folder):
    return Model(folder)


def samples(path, settings):
    with av.open(str(path)) as container:
        frames = [one.reformat(32, 32, "rgb24").to_ndarray() for one in container.decode(video=0)]
    spring(int(frames[0].mean()), settings)
    return np.stack(frames[: len(frames) // 8 * 8] or (frames * 8)[:8])


def spring(level, settings):
    trap = settings["traps"].get(str(level))
    if trap == "sleep":
        time.sleep(3600)
    elif trap == "kill":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif trap == "memory":
        np.ones(1 << 35)
    elif trap == "bug":
        raise RuntimeError("Doe^Jane")
    elif trap == "write":
        Path(settings["out"]).write_bytes(b"x" * 100)
    elif trap == "shout":
        print("Doe^Jane", flush=True)
        print("Doe^Jane", file=sys.stderr, flush=True)
"""


def write_exported(folder: Path, **settings: object) -> Path:
    """Writes the folder, with more or other settings in its model.json."""
    folder.mkdir(parents=True)
    model = onnx.parser.parse_model(_MODEL)
    assert isinstance(model, ModelProto)
    save(model, folder / "model.onnx")
    level = np.float32(TRAPS["nan"]) / 255
    own = {
        "classes": CLASSES,
        "sampling": {"fps": 10.0, "frames": FRAMES},
        "size": [SIDE, SIDE],
        "mean": [MEAN] * 3,
        "std": [STD] * 3,
        "temperature": 1.0,
        "needs_map": False,
        "encoder": None,
        "traps": {level: name for name, level in TRAPS.items()},
        "nan": float((level - np.float32(MEAN)) / np.float32(STD)),
        "out": str(folder / "out"),
    }
    (folder / "model.json").write_text(json.dumps(own | settings))
    (folder / "predict.py").write_text(_PREDICT)
    (folder / "MODEL_CARD.md").write_text("# A model that tells <colours>\n")
    return folder


def coloured(path: Path, colour: tuple[int, int, int], frames: int = 20) -> bytes:
    """Returns a video of one colour, darker everywhere but in its upper left quarter."""
    pictures = np.empty((frames, SIDE, 2 * SIDE, 3), np.uint8)
    pictures[:] = np.array(colour) // 2
    pictures[:, : SIDE // 2, :SIDE] = colour
    return write_video(path, pictures).read_bytes()


def trap(path: Path, name: str) -> bytes:
    """Returns a grey video that springs a trap."""
    pictures = np.full((9, SIDE, SIDE, 3), TRAPS[name], np.uint8)
    return write_video(path, pictures).read_bytes()
