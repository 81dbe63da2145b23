"""The process that decodes other people's videos: it may use so much memory, and write nothing.

It answers one video after the other over a socket, each answer a JSON text after its length. What
kills it costs one upload: see `vaclip.serve.worker`.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vaclip.data.video import picture_size
from vaclip.errors import VaclipError
from vaclip.export.folder import load_runner
from vaclip.media import failure
from vaclip.reports.pictures import movie
from vaclip.serve.exported import Exported, read_exported
from vaclip.serve.worker import LENGTH
from vaclip.signals import end_with_parent

_LONGEST_REQUEST: Final = 1024
_MOST_PICTURES: Final = 160  # of one film; it is wide as all of them
_SIDE: Final = 224  # pixels, the longer one of a picture
_UPLOAD: Final = "the upload"


def main(folder: str, memory: str, descriptor: str) -> None:
    """Loads the model, says that it is ready, and answers until the other end closes.

    Args:
        folder: What `vaclip export` wrote.
        memory: Bytes that one video may take beyond what the loaded model has.
        descriptor: Of the socket.
    """
    end_with_parent()
    exported = read_exported(Path(folder))
    code = load_runner(exported.folder)
    model = code.load(exported.folder)
    with socket.socket(fileno=int(descriptor)) as answers:
        _confine(int(memory))
        _send(answers, {"ready": True})
        while True:
            request, videos, *_ = socket.recv_fds(answers, _LONGEST_REQUEST, 1)
            if not request:
                return
            [video] = videos
            _send(answers, _said(exported, code, model, video, json.loads(request)))
            os.close(video)


def _confine(memory: int) -> None:
    """Bounds memory, and forbids to write files: neither video, nor a picture of a crash."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)  # FFmpeg's complaints may quote a video
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(nowhere, stream.fileno())


def _send(answers: socket.socket, value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    answers.sendall(len(text).to_bytes(LENGTH, "big") + text)


def _said(
    exported: Exported, code: Any, model: Any, video: int, wanted: dict[str, bool]
) -> dict[str, Any]:
    path = Path(f"/proc/self/fd/{video}")
    try:
        size = picture_size(path)  # refuses what is no video before `read` meets it
        shown = code.samples(path, model.settings)
        segments = model.segments(shown)
        probabilities, maps = model.predict(segments)
        if not np.isfinite(probabilities).all():
            raise VaclipError("the model gives no numbers for it")
        answer: dict[str, Any] = {
            "predicted": exported.classes[int(np.argmax(probabilities))],
            "probabilities": dict(zip(exported.classes, map(float, probabilities), strict=True)),
            "segments": len(segments),
        }
        if wanted["map"]:
            answer["map"] = None if maps is None else np.asarray(maps, float).round(6).tolist()
        if wanted["pictures"]:
            answer["pictures"] = pictures(model.pictures(shown), maps, size)
        return {"answer": answer}
    except av.FFmpegError as error:
        return {"refused": str(failure(_UPLOAD, error))}
    except MemoryError:
        return {"refused": f"{_UPLOAD}: needs more memory than it is given; send a shorter video"}
    except (VaclipError, ValueError) as error:
        said = str(error).replace(str(path), _UPLOAD).removeprefix(f"{path.name}: ")
        return {"refused": said if said.startswith(_UPLOAD) else f"{_UPLOAD}: {said}"}


def pictures(
    segments: NDArray[np.uint8],
    maps: NDArray[np.floating] | None,
    size: tuple[int, int],
) -> dict[str, Any]:
    """Draws what the model saw, and its map, as the page plays it.

    Args:
        segments: (S, T, H, W, 3).
        maps: (S, T', H', W'), each segment summing to 1, or None.
        size: (height, width) of the video, for its aspect.

    Returns:
        ``count``, of the first pictures, and ``layers``: title, alt and uri, the video first.
    """
    length = segments.shape[1]
    flat = segments.reshape(-1, *segments.shape[2:])[:_MOST_PICTURES]
    scale = _SIDE / max(size)
    height, width = (max(16, round(scale * side)) for side in size)
    frames = np.stack([np.asarray(Image.fromarray(one).resize((width, height))) for one in flat])
    layers = {}
    if maps is not None:
        over = maps[:, np.arange(length) * maps.shape[1] // length]
        over = over.reshape(-1, *maps.shape[2:])[: len(frames)]
        layers["predicted"] = np.rint(255 * over / max(over.max(), 1e-12)).astype(np.uint8)
    film = movie(frames, layers, "the video", height, height // 2)
    return {"count": film.count, "layers": [vars(layer) for layer in film.layers]}


if __name__ == "__main__":
    main(*sys.argv[1:])
