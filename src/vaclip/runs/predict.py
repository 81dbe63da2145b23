"""Class probabilities of videos from a checkpoint."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaclip import keys
from vaclip.data.cache import SampleSettings, cache_clip, cache_video
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import ClipItem
from vaclip.data.prior_map import prior_of_length
from vaclip.errors import VaclipError
from vaclip.features import FrozenEncoder
from vaclip.features.cache import TokenSettings, cache_tokens
from vaclip.media import find_videos
from vaclip.metrics.retrieval import unit_rows
from vaclip.models import VideoAttentionCLIP
from vaclip.runs.abstain import Abstain
from vaclip.runs.named_clips import bare_study, clips_of
from vaclip.runs.said import ClipPredictions, Said, mean_map, row_of
from vaclip.runs.tokens import encoder_of_checkpoint
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Study
from vaclip.training.checkpoint import load_model
from vaclip.training.inference import predict_segments

MAPS = ("given", "predicted", "prior", "none")
"""Whose map can guide a model at prediction: the clinicians', the model's own, the mean map of the
training patients, or nobody's."""


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
        prior: The mean map of its training patients, (C, H, W) in 0 to 255; None where the run kept
            none.
        control: The control map that it was trained with; None for the clinicians'.
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
    prior: NDArray[np.uint8] | None = None
    control: str | None = None
    encoder: FrozenEncoder | None = None
    tokens: TokenSettings | None = None

    def __repr__(self) -> str:
        needs = "needs an attention map" if self.map_choices[0] == "given" else "needs video alone"
        return f"Predictor({str(self.checkpoint)!r}: {', '.join(self.classes)}; {needs})"

    @property
    def map_choices(self) -> tuple[str, ...]:
        """Whose maps it can be guided by, of `MAPS`; the first is what it was trained for."""
        model = self.model
        guided = model.guidance is not None or model.map_gate is not None
        if model.classifier_source == "attn":
            return ("given",)
        if guided and model.map_source == "predicted":
            return ("predicted",)
        if guided and self.control == "prior":
            return ("prior",)
        if not guided and model.classifier_source == "video":
            return ("none",)
        able = ("predicted", "given") if model.map_source == "mixed" else ("given", "none")
        return (*able, "prior") if guided and self.prior is not None else able

    def predict(
        self,
        videos: Sequence[str | Path],
        *,
        attention: Study | str | Path | None = None,
        map_from: str | None = None,
        maps: bool = False,
    ) -> pd.DataFrame:
        """Predicts the class of every clip, as `predict_videos` does.

        A clip that cannot be predicted is not in the table, and is warned of.

        Args:
            videos: Files, or folders whose video files are taken.
            attention: A study with the clips and annotations of these videos, or its folder.
            map_from: Whose maps guide, see `predict_videos`.
            maps: Whether to return the predicted maps too.

        Returns:
            One row a clip, by ``clip_id``: ``video``, ``segments``, ``map``, ``predicted``, one
            ``prob_...`` a class, and with ``maps`` ``predicted_map``, an array (segments, T', H',
            W') of which each segment sums to 1.

        Raises:
            VaclipError: As `predict_videos`; or if maps are asked for, and the model predicts none.
        """
        if maps and self.model.map_head is None:
            raise VaclipError(
                f"the model in {self.checkpoint} predicts no map; train one that does, such as P2"
            )
        found = predict_videos(self, videos, attention=attention, map_from=map_from)
        for failure in found.failures:
            warnings.warn(failure, stacklevel=2)
        table = found.table.assign(predicted_map=found.maps) if maps else found.table
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
        annotators = model_annotators(self, study)
        rows = []
        with tempfile.TemporaryDirectory(prefix="vaclip-") as scratch:
            for clip in study.clips:
                rows.append(_embed_clip(self, study, clip, annotators, Path(scratch)))
        sizes = [(side, n) for side in ("video", "attn") for n in range(rows[0].shape[0] // 2)]
        index = pd.Index([clip.clip_id for clip in study.clips], name=keys.PRED_CLIP)
        return pd.DataFrame(np.stack(rows), index, pd.MultiIndex.from_tuples(sizes))


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
    control = config["data"].get("control")
    if control not in (None, "prior"):
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
        None if about.get("prior_map") is None else about["prior_map"].numpy(force=True),
        control,
        *encoder_of_checkpoint(checkpoint, about),
    )


def predict_videos(
    predictor: Predictor | Sequence[Predictor],
    videos: Sequence[str | Path],
    *,
    attention: Study | str | Path | None = None,
    map_from: str | None = None,
    abstain: Abstain | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ClipPredictions:
    """Predicts the class of every clip.

    Args:
        predictor: The model; or several, as of `vaclip.runs.ensemble.load_ensemble`, whose
            probabilities and maps are averaged.
        videos: Files, or folders whose video files are taken, subfolders too.
        attention: A study, or its folder, with the clips and annotations of these videos. A video
            is looked up by its path, else by its content, so that a copy is found and another
            file of the same name is not taken for it.
        map_from: Whose map guides the model, of `Predictor.map_choices`; None for what it was
            trained for. Of ``mixed`` maps the given ones are taken where ``attention`` has them.
        abstain: When to withhold a diagnosis: by the threshold of each model, of which half have
            to answer at least, and by the agreement of all. None for never.
        progress: Called with (done, total) after each clip.

    Returns:
        The table, what is wrong with the clips that are not in it, and predicted maps. Segments
        without a valid map are left out where the diagnosis needs one; ``segments`` counts the
        others.

    Raises:
        VaclipError: If the model cannot be guided like this, maps are needed and there is no
            ``attention``, or no clip at all can be predicted.
    """
    members = [predictor] if isinstance(predictor, Predictor) else list(predictor)
    predictor = members[0]
    map_from = map_choice(predictor, map_from, attention is not None)
    thresholds = abstain.thresholds([one.checkpoint for one in members]) if abstain else []
    files = find_videos([Path(video) for video in videos])
    if attention is None:
        study = bare_study(files)
    else:
        study = attention if isinstance(attention, Study) else load_study(attention)
    annotators = model_annotators(predictor, study)
    found: list[tuple[Clip, dict[str, Any], NDArray[np.float32] | None]] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vaclip-") as name:
        scratch = Path(name)
        clips = list(study.clips)
        if attention is not None:
            clips, failures = clips_of(files, study, scratch)
        settings = SampleSettings.from_settings(predictor.data, annotators)
        by_video: dict[Path, list[Clip]] = defaultdict(list)
        for clip in clips:
            by_video[clip.video].append(clip)
        for done, clip in enumerate(clips, start=1):
            if own := by_video.pop(clip.video, []):
                cache_video(study.only(own), settings, scratch)
            try:
                said = [
                    _predict_clip(one, study, clip, annotators, scratch, map_from)
                    for one in members
                ]
                row = row_of(clip, said, predictor.classes, abstain, thresholds)
                found.append((clip, row, mean_map(said)))
            except VaclipError as error:
                failures.append(str(error))
            if progress:
                progress(done, len(clips))
    if not found:
        raise VaclipError("no clip can be predicted:\n  " + "\n  ".join(failures))
    predicted, rows, maps = map(list, zip(*found, strict=True))
    return ClipPredictions(pd.DataFrame(rows), failures, predicted, maps)


def map_choice(predictor: Predictor, wanted: str | None, given: bool) -> str:
    """Returns whose map guides, of `MAPS`."""
    able = predictor.map_choices
    if wanted is None:
        wanted = "given" if given and "given" in able else able[0]
    if wanted not in able:
        raise VaclipError(
            f"the model in {predictor.checkpoint} cannot be guided by --map {wanted}; it can by "
            f"{', '.join(able)}"
        )
    if wanted == "given" and not given:
        raise VaclipError(
            f"the model in {predictor.checkpoint} was trained to look where a clinician looks, and "
            "its diagnosis needs an attention map; give --attention STUDY, a study folder that "
            "names these videos, or train a model that predicts the map itself (experiment=P2)"
        )
    return wanted


def model_annotators(predictor: Predictor, study: Study) -> tuple[str, ...]:
    """Returns whose annotations of a study a model is shown."""
    chosen = predictor.data["annotators"] or predictor.data.get("train_annotators")
    if chosen is None and predictor.data["combine"] != "stack":
        return study.annotators
    return predictor.annotators


def clip_segments(
    predictor: Predictor,
    study: Study,
    clip: Clip,
    annotators: tuple[str, ...],
    scratch: Path,
    map_from: str = "given",
) -> SegmentDataset:
    """Returns a clip's segments as the model reads them, with a map of `MAPS`."""
    data = predictor.data
    cached = cache_clip(study, clip, SampleSettings.from_settings(data, annotators), scratch)
    if predictor.encoder is not None and predictor.tokens is not None:
        (cached,) = cache_tokens(
            [cached], predictor.encoder, predictor.tokens, scratch, device=predictor.device
        )
    if map_from == "prior":
        assert predictor.prior is not None
        prior = prior_of_length(predictor.prior, cached.samples, scratch)
        cached = dataclasses.replace(cached, attn=prior)
    elif map_from != "given":
        cached = dataclasses.replace(cached, attn=None)
    item = ClipItem(cached, 0, -1, -1, -1, -1)
    return SegmentDataset([item], data["frames"], data["stride"], predictor.channels)


def _outputs(predictor: Predictor, segments: SegmentDataset, *names: str) -> list[Tensor]:
    """Runs the model, and returns a batch key or output for all segments each."""
    size, embed = predictor.data["batch_size"], keys.VIDEO_EMBED in names
    parts = [
        [(batch | outputs)[name].cpu() for name in names]
        for batch, outputs in predict_segments(
            predictor.model, segments, size, predictor.device, embed=embed
        )
    ]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def _predict_clip(
    predictor: Predictor,
    study: Study,
    clip: Clip,
    annotators: tuple[str, ...],
    scratch: Path,
    map_from: str,
) -> Said:
    names = [keys.LOGITS, keys.ATTN_VALID]
    names += [keys.PREDICTED_MAP] if predictor.model.map_head is not None else []
    segments = clip_segments(predictor, study, clip, annotators, scratch, map_from)
    logits, valid, *predicted = _outputs(predictor, segments, *names)
    probs = logits.float().softmax(dim=1)
    if map_from == "given" and predictor.model.diagnosis_needs_map:
        probs = probs[valid]
    if not len(probs):
        raise VaclipError(
            f"clip '{clip.clip_id}' has no attention map by {', '.join(annotators) or 'anyone'}, "
            "and the model's diagnosis needs one; add it to attention.csv"
        )
    used = {map_from}
    if map_from == "given" and predictor.model.map_source == "mixed":
        used = {"given" if own else "predicted" for own in valid.tolist()}
    return Said(
        probs.mean(dim=0).double().numpy(),
        len(probs),
        " and ".join(sorted(used)),
        predicted[0][:, 0].float().numpy() if predicted else None,
    )


def _embed_clip(
    predictor: Predictor, study: Study, clip: Clip, annotators: tuple[str, ...], scratch: Path
) -> NDArray[np.float64]:
    """Returns (2 E,): the embeddings of the video and of its map."""
    names = (keys.VIDEO_EMBED, keys.ATTN_EMBED, keys.ATTN_VALID)
    segments = clip_segments(predictor, study, clip, annotators, scratch)
    video, attn, valid = _outputs(predictor, segments, *names)
    used = valid if valid.any() else torch.ones_like(valid)
    means = [side[used].double().mean(dim=0, keepdim=True).numpy() for side in (video, attn)]
    video_mean, attn_mean = map(unit_rows, means)
    if not valid.any():
        attn_mean = np.full_like(attn_mean, np.nan)
    return np.concatenate([video_mean[0], attn_mean[0]])
