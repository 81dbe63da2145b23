"""Whether an exported folder says of the test clips what the run's test table says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from vaclip import keys
from vaclip.data.arrays import ArrayFile
from vaclip.data.cache import cache_study, clip_cache
from vaclip.errors import VaclipError
from vaclip.evaluation.predictions import Predictions
from vaclip.export.folder import ONNX, load_runner
from vaclip.export.network import VIDEO, ExportedNetwork
from vaclip.export.tokens import TOLERANCE, Rounding, session_with_tokens
from vaclip.export.trained import TrainedFold
from vaclip.runs.prepare import chosen_annotators, data_settings, open_study, sample_settings
from vaclip.study.study import Clip

_LEAST: Final = 1e-30  # a probability below has no logit in single precision


@dataclass(frozen=True)
class Difference:
    """How far logits are from those of the test table: the largest |difference| over all segments.

    Probabilities are all that a table keeps. Their logarithms are the logits less a constant of
    the segment, so these are compared.

    Attributes:
        exported: Of what the exported folder makes of the video files.
        torch: Of what vaclip's own network makes of the pictures that the folder reads.
        rounding: What a frozen encoder explains of it; None where there is none.
    """

    exported: float
    torch: float
    rounding: Rounding | None = None

    @property
    def accepted(self) -> bool:
        """Whether the table is given again, but for the rounding of tokens to float16."""
        rounded = self.rounding is not None and self.rounding.alone and self.torch < TOLERANCE
        return self.exported < TOLERANCE or rounded

    def __str__(self) -> str:
        said = f"Over the test clips the logits differ by {self.exported:.2g} at most"
        if self.exported < TOLERANCE or self.rounding is None:
            return f"{said} (less than {TOLERANCE:g} is asked for)."
        return (
            f"{said}, because the test table rests on tokens that were rounded to float16: "
            "ONNX Runtime adds in another order than torch, and some tokens are rounded to the "
            f"neighbouring number. On the same tokens the logits differ by "
            f"{self.rounding.on_tokens:.2g}; with torch's encoder on the same pictures by "
            f"{self.torch:.2g} (less than {TOLERANCE:g} is asked for of both)."
        )


def table_difference(
    trained: TrainedFold,
    folder: Path,
    root: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Difference:
    """Compares an exported folder with the test table, from the video files on.

    Args:
        trained: What was exported.
        folder: The exported folder.
        root: Where the study lies now; None for where the run found it.
        progress: Called with (done, total) clips.

    Raises:
        VaclipError: If it is not accepted, see `Difference`, or the study lacks a test clip.
    """
    runner = load_runner(folder)
    model = runner.load(folder)
    apart = trained.apart and _Torch(trained.apart)
    by_torch = runner.Model(model.settings, _Torch(trained.network), apart)
    halves = None
    if trained.predictor.encoder is not None:
        halves = _Halves(trained.network, folder, runner, model.settings)
    table = _test_table(trained)
    exported, of_torch, where = 0.0, 0.0, ""
    for done, (clip, drawn) in enumerate(_test_clips(trained, set(table), root), start=1):
        shown = runner.samples(clip.video, model.settings, clip.start_s, clip.end_s)
        segments = model.segments(shown)
        seen = segments if apart is None else by_torch.segments(shown)
        stated = table[clip.clip_id]
        if len(segments) != len(stated):
            raise VaclipError(
                f"clip '{clip.clip_id}' has {len(segments)} segments, and {len(stated)} in the "
                "test table; the video is another one now"
            )
        maps = runner.read_maps(drawn, model.settings) if drawn else None
        if maps is None and model.settings["needs_map"]:
            maps = _blank(trained, segments)
        logits = model.run(segments, maps)[0]
        if (found := _apart(logits, stated)) >= exported:
            exported, where = found, clip.clip_id
        of_torch = max(_apart(by_torch.run(seen, maps)[0], stated), of_torch)
        if halves is not None:
            halves.add(segments, seen, maps, logits)
        progress(done, len(table))
    difference = Difference(exported, of_torch, None if halves is None else halves.rounding)
    if not difference.accepted:
        raise VaclipError(
            f"nothing was exported: the test table is not given again. In clip '{where}' the "
            f"logits differ by {exported:.2g} (less than {TOLERANCE:g} is asked for); those of "
            f"vaclip's own network, run here on the same pictures, by up to {of_torch:.2g}. A "
            "table made on a GPU or with another trainer.precision than 32-true, and other "
            "videos or maps, differ so: test the run again on a CPU, with the study as it is now"
        )
    return difference


class _Torch:
    """A network of torch, as predict.py calls one of ONNX Runtime."""

    def __init__(self, network: Callable[..., Tensor | tuple[Tensor, ...]]) -> None:
        self._network = network

    @torch.inference_mode()
    def run(
        self, names: None, inputs: Mapping[str, NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        found = self._network(*map(torch.from_numpy, inputs.values()))
        return [own.numpy() for own in ((found,) if isinstance(found, Tensor) else found)]


class _Halves:
    """What ONNX Runtime and torch make of clips before and behind the tokens of an encoder.

    Attributes:
        rounding: What explains that they differ, over all clips so far.
    """

    def __init__(self, network: ExportedNetwork, folder: Path, runner: Any, settings: Any) -> None:
        self.rounding = Rounding()
        self._tokens = _Torch(network.tokens)
        self._head = runner.Model(settings, _Torch(network.read))
        # An encoder apart has shown its tokens already.
        session = session_with_tokens(folder / ONNX) if network.encoder is not None else None
        self._probe = session and runner.Model(settings, session)

    def add(
        self,
        segments: NDArray[np.float32],
        seen: NDArray[np.float32],
        maps: NDArray[np.float32] | None,
        logits: NDArray[np.float32],
    ) -> None:
        """Compares a clip.

        Args:
            segments: What the exported network sees.
            seen: What torch's does: other tokens, where they are made before.
            maps: Of the segments.
            logits: Of the exported network.
        """
        if self._probe:
            logits, *_, rows = self._probe.run(segments, maps)
            (seen,) = self._tokens.run(None, {VIDEO: segments})
            each = rows.reshape(len(segments), -1, *rows.shape[1:])
            segments = np.ascontiguousarray(each.swapaxes(1, 2))
        own = self._head.run(segments, maps)[0]
        self.rounding = self.rounding.and_of(segments, seen, logits, own)


def _test_table(trained: TrainedFold) -> dict[str, NDArray[np.float64]]:
    """Returns (S, K) logarithms of the probabilities of each test clip, by its id."""
    predictions = Predictions.load(trained.folder)
    test = predictions.test.sort_values(keys.PRED_SEGMENT)
    return {
        str(clip): np.log(own[predictions.probs].to_numpy(np.float64).clip(_LEAST))
        for clip, own in test.groupby(keys.PRED_CLIP)
    }


def _test_clips(
    trained: TrainedFold, wanted: set[str], root: Path | None
) -> Iterator[tuple[Clip, ArrayFile | None]]:
    """Yields each test clip, with the .npy of its map where the network reads one."""
    data = data_settings(trained.config["data"], root)
    study = open_study(data)
    clips = [clip for clip in study.clips if clip.clip_id in wanted]
    if missing := wanted - {clip.clip_id for clip in clips}:
        raise VaclipError(
            f"{study.root} lacks clips that {trained.run} was tested on: "
            f"{', '.join(sorted(missing)[:3])}; name the study that it was trained on with --data"
        )
    if not trained.network.reads_map:
        yield from ((clip, None) for clip in clips)
        return
    settings = sample_settings(data, chosen_annotators(data, study)[1])
    cached = cache_study(study.only(clips), settings, clip_cache(data.cache_dir), workers=1)
    yield from ((own.clip, own.attn) for own in cached)


def _blank(trained: TrainedFold, segments: NDArray[np.float32]) -> NDArray[np.float32]:
    data = trained.predictor.data
    shape = (len(segments), trained.predictor.channels, data["frames"], *data["size"])
    return np.zeros(shape, np.float32)


def _apart(logits: NDArray[np.float32], stated: NDArray[np.float64]) -> float:
    """Returns the largest |difference| of logits from logarithms of probabilities, (S, K) each."""
    found = log_softmax(logits.astype(np.float64), axis=1)
    apart = float(np.abs(found.clip(math.log(_LEAST)) - stated).max())
    return math.inf if math.isnan(apart) else apart
