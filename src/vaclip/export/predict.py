"""Class probabilities of videos by an exported model of vaclip, which need not be installed.

Needs onnxruntime, av (17.1 or later) and numpy. ``python predict.py VIDEO... [--maps MAP...]``
prints a line of JSON for each video; model.json beside it says how the model reads one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else ONNX Runtime reports its use
import onnxruntime

SAFE = {"protocol_whitelist": "file", "max_pixels": "64000000"}  # a name is never an address
SLACK_S = 1e-3  # time stamps are rounded to the container's time base
AT_ONCE = 8  # segments that the network sees together
PICTURES = 32  # that an encoder sees together


class Model:
    """A network, and ``settings``: what model.json says of it.

    It sees pictures, or the tokens that a frozen encoder in a file of its own makes of them.
    """

    def __init__(self, settings: dict[str, Any], session: Any, encoder: Any = None) -> None:
        self.settings, self.session, self.encoder = settings, session, encoder

    def read(
        self, path: Path | str, start_s: float = 0.0, end_s: float | None = None
    ) -> np.ndarray:
        """Returns the segments of a video, or of a span of it, (S, C, T, H, W) float32."""
        return self.segments(samples(path, self.settings, start_s, end_s))

    def segments(self, shown: np.ndarray) -> np.ndarray:
        """Returns the segments of (N, H, W, 3) `samples`, as `read` does."""
        if self.encoder is None:
            return _normalised(self.pictures(shown), self.settings)
        tokens = cut(self._tokens(shown), len(shown), self.settings, self.settings["step"])
        return np.ascontiguousarray(tokens.swapaxes(1, 2))

    def pictures(self, shown: np.ndarray) -> np.ndarray:
        """Returns what of (N, H, W, 3) `samples` lies in each segment, (S, T, H, W, 3)."""
        every = self.settings["every"]
        return cut(shown[::every], len(shown), self.settings, every)

    def _tokens(self, shown: np.ndarray) -> np.ndarray:
        """Shows a clip to the encoder, window by window; the last one holds the last picture."""
        kept, window = shown[:: self.settings["every"]], self.settings["encoder"]["window"]
        windows, at_once = -(-len(kept) // window), max(1, PICTURES // window)
        found = []
        for first in range(0, windows, at_once):
            wanted = np.arange(first * window, min(first + at_once, windows) * window)
            pictures = kept[np.minimum(wanted, len(kept) - 1)].reshape(-1, window, *kept.shape[1:])
            pixels = _normalised(pictures, self.settings)
            pixels = pixels if window > 1 else np.ascontiguousarray(pixels[:, :, 0])
            found += self.encoder.run(None, {"pictures": pixels})
        return np.concatenate(found)[: -(-len(shown) // self.settings["step"])]

    def predict(
        self, segments: np.ndarray, maps: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns (K,) probabilities of a clip, and (S, T', H', W') where it would look, or None.

        Args:
            segments: (S, C, T, H, W), of `read`.
            maps: (S, C, T, H, W), of `read_maps`.
        """
        logits, *predicted = self.run(segments, maps)
        scaled = logits.astype(np.float64) / self.settings["temperature"]
        probs = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        probs /= probs.sum(axis=1, keepdims=True)
        if self.settings["needs_map"] and maps is not None:
            probs = probs[maps.any(axis=(1, 2, 3, 4))]  # a segment without a mark says nothing
        if not len(probs):
            raise ValueError("the map is empty, and the diagnosis needs one")
        return probs.mean(axis=0), predicted[0] if predicted else None

    def run(self, segments: np.ndarray, maps: np.ndarray | None = None) -> list[np.ndarray]:
        """Returns (S, K) logits, and predicted maps where there are any."""
        seen = "video" if self.encoder is None else "video_tokens"
        wanted, inputs = self.settings["map"], {seen: segments}
        if maps is None and self.settings["needs_map"]:
            raise ValueError("the diagnosis needs a clinician's map of the clip: give --maps")
        if maps is not None and not wanted:
            raise ValueError("this model reads no map")
        if wanted:
            shape = (len(segments), wanted["channels"], self.settings["frames"], *wanted["size"])
            inputs["attn_map"] = np.zeros(shape, np.float32) if maps is None else maps
            if inputs["attn_map"].shape != shape:
                raise ValueError(f"maps of {inputs['attn_map'].shape}, not of {shape}")
        parts = [
            self.session.run(None, {name: own[n : n + AT_ONCE] for name, own in inputs.items()})
            for n in range(0, len(segments), AT_ONCE)
        ]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


def load(folder: Path) -> Model:
    """Loads the model of an exported folder."""
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    encoder, own = settings["encoder"], None
    if encoder and encoder["file"]:
        if not (folder / encoder["file"]).is_file():
            raise ValueError(
                f"{folder} has no {encoder['file']}: it holds the weights of {encoder['source']} "
                f"({encoder['licence']}), which may not be passed on. MODEL_CARD.md says how "
                "those who have them add it"
            )
        own = onnxruntime.InferenceSession(str(folder / encoder["file"]))
    return Model(settings, onnxruntime.InferenceSession(str(folder / "model.onnx")), own)


def cut(rows: np.ndarray, count: int, settings: dict[str, Any], covers: int) -> np.ndarray:
    """Returns the rows of each segment, (S, T, ...), of a clip of so many samples.

    Args:
        rows: (N, ...), one for every so many samples.
        count: Samples of the clip.
        settings: Of the model.
        covers: Samples that a row stands for.
    """
    length, step = settings["frames"] // covers, settings["step"]
    firsts = (start - start % step for start in starts(count, settings))
    return rows[[_window(first // covers, length, len(rows)) for first in firsts]]


def _normalised(pictures: np.ndarray, settings: dict[str, Any]) -> np.ndarray:
    """Turns (S, T, H, W, 3) of bytes to (S, 3, T, H, W) as the network was trained."""
    mean, std = np.float32(settings["mean"]), np.float32(settings["std"])
    pixels = (pictures.astype(np.float32) / 255 - mean) / std
    return np.ascontiguousarray(pixels.transpose(0, 4, 1, 2, 3))


def read_maps(path: Path | str, settings: dict[str, Any]) -> np.ndarray:
    """Returns the maps of the segments, (S, C, T, H, W), of an .npy of a clip's.

    Args:
        path: (C, samples, H, W) from 0 to 255; sample n lies n / fps seconds behind the start.
        settings: Of the model.
    """
    shown = np.load(path, allow_pickle=False).astype(np.float32) / 255
    kept = cut(shown.swapaxes(0, 1), shown.shape[1], settings, 1)
    return np.ascontiguousarray(kept.swapaxes(1, 2))


def starts(count: int, settings: dict[str, Any]) -> list[int]:
    """Returns the first sample of each segment of a clip of so many samples."""
    frames, stride = settings["frames"], settings["stride"]
    found = list(range(0, count - frames + 1, stride)) or [0]
    if 2 * (count - found[-1] - frames) > stride:
        found.append(count - frames)
    return found


def _window(first: int, length: int, count: int) -> np.ndarray:
    return np.minimum(first + np.arange(length), count - 1)  # a short clip holds its last picture


def samples(
    path: Path | str, settings: dict[str, Any], start_s: float = 0.0, end_s: float | None = None
) -> np.ndarray:
    """Returns the pictures that a player would show at each 1 / fps seconds, (N, H, W, 3)."""
    found: list[np.ndarray] = []
    fps, (height, width), reformatter = settings["fps"], settings["size"], VideoReformatter()
    for frame, until_s in _frames(path):
        limit, filled = until_s if end_s is None else min(until_s, end_s), len(found)
        while start_s + filled / fps < limit - SLACK_S:
            filled += 1
        if filled > len(found):
            turns = round(frame.rotation / 90) % 4  # a phone's film says which way is up
            sides = (height, width) if turns % 2 else (width, height)
            small = reformatter.reformat(
                frame, *sides, format="rgb24", interpolation=Interpolation.AREA
            )
            found += [np.rot90(small.to_ndarray(), turns)] * (filled - len(found))
        if end_s is not None and start_s + filled / fps >= end_s - SLACK_S:
            break
    if not found:
        raise ValueError("holds no picture, or none in this span")
    return np.stack(found)


def _frames(path: Path | str) -> Iterator[tuple[av.VideoFrame, float]]:
    """Yields each frame with the time, from the first, at which the next one appears."""
    with av.open(f"file:{path}", options=SAFE, metadata_errors="replace") as container:
        if not container.streams.video:
            raise ValueError("holds no video")
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": SAFE["max_pixels"]}
        nominal_s = 1 / float(stream.average_rate or stream.base_rate or 25)
        held, held_s, first_s = None, 0.0, 0.0
        for frame in container.decode(stream):
            if held is None:
                first_s = frame.time or 0.0
            else:
                time_s = held_s if frame.time is None else frame.time - first_s
                time_s = time_s if time_s > held_s else held_s + nominal_s
                yield held, time_s
                held_s = time_s
            held = frame
        if held is not None:
            if held.duration and held.time_base:
                nominal_s = float(held.duration * held.time_base)
            yield held, held_s + nominal_s


def main() -> int:
    """Prints the probabilities of each video; returns 1 where one cannot be read."""
    parser = argparse.ArgumentParser(description="Class probabilities of videos, as JSON.")
    parser.add_argument("videos", nargs="+", metavar="VIDEO")
    parser.add_argument("--maps", nargs="*", help="a map for each video, .npy: see read_maps")
    options = parser.parse_args()
    maps = options.maps or [None] * len(options.videos)
    if len(maps) != len(options.videos):
        parser.error(f"{len(maps)} maps for {len(options.videos)} videos")
    failed = 0
    try:
        model = load(Path(__file__).parent)
    except ValueError as error:
        sys.exit(str(error))
    for video, drawn in zip(options.videos, maps, strict=True):
        try:
            segments = model.read(video)
            probs, _ = model.predict(segments, drawn and read_maps(drawn, model.settings))
        except (OSError, ValueError, av.FFmpegError) as error:
            print(f"{video}: {error}", file=sys.stderr)
            failed = 1
            continue
        named = dict(zip(model.settings["classes"], probs.tolist(), strict=True))
        print(json.dumps({"video": video, "probabilities": named}), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
