"""Class probabilities of videos from a checkpoint."""

from __future__ import annotations

import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaclip import keys
from vaclip.data.cache import SampleSettings, cache_clip, file_digest
from vaclip.data.dataset import ClipItem, SegmentDataset
from vaclip.errors import VaclipError
from vaclip.features import FrozenEncoder
from vaclip.features.cache import TokenSettings, cache_tokens
from vaclip.media import find_videos
from vaclip.metrics.retrieval import unit_rows
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.tokens import encoder_of_checkpoint
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Study
from vaclip.training.checkpoint import load_model
from vaclip.training.inference import predict_segments


@dataclass(frozen=True, repr=False)
class Predictor:
    """A trained model with what it needs to know of its inputs.

    Attributes:
        model: In evaluation mode.
        checkpoint: Where it was read from.
        classes: In the order of the logits.
        data: The ``data`` settings of its run.
        channels: C of its maps.
        annotators: Whose annotations it was trained on.
        aligned: Whether its embeddings were trained.
        device: Where it runs.
        encoder: The frozen one whose tokens it reads; None where it reads pixels.
        tokens: How clips are shown to it, and what of its tokens is kept.
    """

    model: VideoAttentionCLIP
    checkpoint: Path
    classes: tuple[str, ...]
    data: dict[str, Any]
    channels: int
    annotators: tuple[str, ...]
    aligned: bool
    device: str
    encoder: FrozenEncoder | None = None
    tokens: TokenSettings | None = None

    def __repr__(self) -> str:
        needs = "needs an attention map" if self.model.diagnosis_needs_map else "needs video alone"
        return f"Predictor({str(self.checkpoint)!r}: {', '.join(self.classes)}; {needs})"

    def predict(
        self, videos: Sequence[str | Path], *, attention: Study | str | Path | None = None
    ) -> pd.DataFrame:
        """Predicts the class of every clip, as `predict_videos` does.

        A clip that cannot be predicted is not in the table, and is warned of.

        Args:
            videos: Files, or folders whose video files are taken.
            attention: A study with the clips and annotations of these videos, or its folder.

        Returns:
            One row a clip, by ``clip_id``: ``video``, ``segments``, ``predicted``, and one
            ``prob_...`` a class.

        Raises:
            VaclipError: As `predict_videos`.
        """
        table, failures = predict_videos(self, videos, attention=attention)
        for failure in failures:
            warnings.warn(failure, stacklevel=2)
        return table.set_index(keys.PRED_CLIP)

    def embed(self, study: Study | str | Path) -> pd.DataFrame:
        """Embeds every clip of a study and its attention map.

        Args:
            study: The study, or its folder.

        Returns:
            One row a clip, by ``clip_id``: under ``video`` and ``attn`` E columns each, the mean
            over the clip's segments that have a map (``video``: over all of them where none has),
            scaled to unit length. Without a map, ``attn`` is NaN.

        Raises:
            VaclipError: If the alignment was not trained, or a clip cannot be decoded.
        """
        if not self.aligned:
            raise VaclipError(
                f"the alignment of {self.checkpoint} was not trained (loss.clip_weight=0), so its "
                "embeddings mean nothing; use an arm with the CLIP term, such as B1 or B3"
            )
        study = study if isinstance(study, Study) else load_study(study)
        annotators = _annotators(self, study)
        rows = []
        with tempfile.TemporaryDirectory(prefix="vaclip-") as scratch:
            for clip in study.clips:
                rows.append(_embed_clip(self, study, clip, annotators, Path(scratch)))
        sizes = [(side, n) for side in ("video", "attn") for n in range(rows[0].shape[0] // 2)]
        index = pd.Index([clip.clip_id for clip in study.clips], name=keys.PRED_CLIP)
        return pd.DataFrame(np.stack(rows), index, pd.MultiIndex.from_tuples(sizes))


class ClipPredictions(NamedTuple):
    """What `predict_videos` gives.

    Attributes:
        table: One row a clip: ``clip_id``, ``video``, ``segments``, ``predicted``, and one
            ``prob_...`` a class.
        failures: One message for each clip that could not be predicted.
    """

    table: pd.DataFrame
    failures: list[str]


def load_predictor(checkpoint: str | Path, device: str = "cpu") -> Predictor:
    """Loads a checkpoint without running code from it.

    Args:
        checkpoint: A ``best.ckpt`` or ``last.ckpt`` of a run folder.
        device: Of torch: ``cpu``, ``cuda``, ``cuda:1``, ...

    Raises:
        VaclipError: If the file or the device cannot be used, or the model was trained with
            control maps.

    Examples:
        >>> load_predictor("nowhere.ckpt")
        Traceback (most recent call last):
        ...
        vaclip.errors.VaclipError: nowhere.ckpt cannot be used as a checkpoint of vaclip ...
    """
    checkpoint = Path(checkpoint)
    model, about = load_model(checkpoint, device)
    config = about["config"]
    if control := config["data"].get("control"):
        raise VaclipError(
            f"{checkpoint} was trained with control maps (data.control={control}), to be compared "
            "with in a study; predict with an arm that saw the clinicians' maps"
        )
    return Predictor(
        model,
        checkpoint,
        tuple(about["classes"]),
        config["data"],
        about["model"]["attn_in_channels"],
        tuple(about["annotators"]),
        config["loss"]["clip_weight"] > 0,
        device,
        *encoder_of_checkpoint(checkpoint, about),
    )


def predict_videos(
    predictor: Predictor,
    videos: Sequence[str | Path],
    *,
    attention: Study | str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ClipPredictions:
    """Predicts the class of every clip.

    Args:
        predictor: The model.
        videos: Files, or folders whose video files are taken, subfolders too.
        attention: A study, or its folder, with the clips and annotations of these videos. A video
            is looked up by its path, else by its content, so that a copy is found and another
            file of the same name is not taken for it.
        progress: Called with (done, total) after each clip.

    Returns:
        The table, and what is wrong with the clips that are not in it. Segments without a
        valid map are left out where the diagnosis needs one; ``segments`` counts the others.

    Raises:
        VaclipError: If maps are needed and there is no ``attention``, a video is not in its
            study, or no clip at all can be predicted.
    """
    if predictor.model.diagnosis_needs_map and attention is None:
        raise VaclipError(
            f"the model in {predictor.checkpoint} was trained to look where a clinician looks, and "
            "its diagnosis needs an attention map; give --attention STUDY, a study folder that "
            "names these videos, or train a model without (experiment=B1)"
        )
    files = find_videos([Path(video) for video in videos])
    if attention is None:
        study = _bare_study(files)
    else:
        study = attention if isinstance(attention, Study) else load_study(attention)
    annotators = _annotators(predictor, study)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vaclip-") as name:
        scratch = Path(name)
        clips = list(study.clips) if attention is None else _clips_of(files, study, scratch)
        for done, clip in enumerate(clips, start=1):
            try:
                rows.append(_predict_clip(predictor, study, clip, annotators, scratch))
            except VaclipError as error:
                failures.append(str(error))
            if progress:
                progress(done, len(clips))
    if not rows:
        raise VaclipError("no clip can be predicted:\n  " + "\n  ".join(failures))
    return ClipPredictions(pd.DataFrame(rows), failures)


def _bare_study(files: Sequence[Path]) -> Study:
    clips = tuple(Clip(str(file), file, "", "", where=str(file)) for file in files)
    return Study(Path(), "", (), {}, (), clips, {})


def _clips_of(files: Sequence[Path], study: Study, scratch: Path) -> list[Clip]:
    by_path: dict[Path, list[Clip]] = defaultdict(list)
    by_size: dict[int, list[Path]] = defaultdict(list)
    for clip in study.clips:
        if clip.video not in by_path:
            by_size[clip.video.stat().st_size].append(clip.video)
        by_path[clip.video].append(clip)
    clips: list[Clip] = []
    for file in files:
        own = by_path.get(file.resolve())
        for video in by_size[file.stat().st_size] if own is None else ():
            if file_digest(video, scratch) == file_digest(file, scratch):
                own = by_path[video]
        if own is None:
            raise VaclipError(f"{file}: clips.csv of the study {study.name} has no such video")
        clips += own
    return clips


def _annotators(predictor: Predictor, study: Study) -> tuple[str, ...]:
    chosen = predictor.data["annotators"] or predictor.data.get("train_annotators")
    if chosen is None and predictor.data["combine"] != "stack":
        return study.annotators
    return predictor.annotators


def _outputs(
    predictor: Predictor,
    study: Study,
    clip: Clip,
    annotators: tuple[str, ...],
    scratch: Path,
    *names: str,
) -> list[Tensor]:
    """Runs the model on a clip, and returns a batch key or output for all of its segments each."""
    data = predictor.data
    cached = cache_clip(study, clip, SampleSettings.from_settings(data, annotators), scratch)
    if predictor.encoder is not None and predictor.tokens is not None:
        (cached,) = cache_tokens(
            [cached], predictor.encoder, predictor.tokens, scratch, device=predictor.device
        )
    segments = SegmentDataset(
        [ClipItem(cached, 0, -1, -1, -1, -1)], data["frames"], data["stride"], predictor.channels
    )
    embed = keys.VIDEO_EMBED in names
    parts = [
        [(batch | outputs)[name].cpu() for name in names]
        for batch, outputs in predict_segments(
            predictor.model, segments, data["batch_size"], predictor.device, embed=embed
        )
    ]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def _predict_clip(
    predictor: Predictor, study: Study, clip: Clip, annotators: tuple[str, ...], scratch: Path
) -> dict[str, Any]:
    logits, valid = _outputs(
        predictor, study, clip, annotators, scratch, keys.LOGITS, keys.ATTN_VALID
    )
    probs = logits.float().softmax(dim=1)
    if predictor.model.diagnosis_needs_map:
        probs = probs[valid]
    if not len(probs):
        raise VaclipError(
            f"clip '{clip.clip_id}' has no attention map by {', '.join(annotators) or 'anyone'}, "
            "and the model's diagnosis needs one; add it to attention.csv"
        )
    mean = probs.mean(dim=0).tolist()
    named = {f"{keys.PRED_PROB_PREFIX}{c}": p for c, p in zip(predictor.classes, mean, strict=True)}
    return {
        keys.PRED_CLIP: clip.clip_id,
        "video": str(clip.video),
        "segments": len(probs),
        "predicted": predictor.classes[mean.index(max(mean))],
        **named,
    }


def _embed_clip(
    predictor: Predictor, study: Study, clip: Clip, annotators: tuple[str, ...], scratch: Path
) -> NDArray[np.float64]:
    """Returns (2 E,): the embeddings of the video and of its map."""
    names = (keys.VIDEO_EMBED, keys.ATTN_EMBED, keys.ATTN_VALID)
    video, attn, valid = _outputs(predictor, study, clip, annotators, scratch, *names)
    used = valid if valid.any() else torch.ones_like(valid)
    means = [side[used].double().mean(dim=0, keepdim=True).numpy() for side in (video, attn)]
    video_mean, attn_mean = map(unit_rows, means)
    if not valid.any():
        attn_mean = np.full_like(attn_mean, np.nan)
    return np.concatenate([video_mean[0], attn_mean[0]])
