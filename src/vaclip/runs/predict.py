"""Class probabilities of videos from a checkpoint."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from rich.table import Table
from torch import Tensor

from vaclip import keys
from vaclip.data.cache import SampleSettings, cache_clip, file_digest
from vaclip.data.dataset import ClipItem, SegmentDataset, collate
from vaclip.data.transforms import prepare_batch
from vaclip.errors import VaclipError
from vaclip.files import atomic_file
from vaclip.media import find_videos
from vaclip.models import VideoAttentionCLIP
from vaclip.study.load import load_study
from vaclip.study.study import Clip, Study
from vaclip.training.checkpoint import load_model


@dataclass(frozen=True)
class Predictor:
    """A model with what it needs to know of its inputs.

    Attributes:
        model: In evaluation mode.
        classes: In the order of the logits.
        data: The ``data`` settings of its run.
        channels: C of its maps.
        annotators: Whose annotations it was trained on.
    """

    model: VideoAttentionCLIP
    classes: tuple[str, ...]
    data: dict[str, Any]
    channels: int
    annotators: tuple[str, ...]


class Predictions(NamedTuple):
    """What `predict_videos` gives.

    Attributes:
        table: One row a clip: ``clip_id``, ``video``, ``segments``, ``predicted``, and one
            ``prob_...`` a class.
        failures: One message for each clip that could not be predicted.
    """

    table: pd.DataFrame
    failures: list[str]


def load_predictor(checkpoint: Path, device: str = "cpu") -> Predictor:
    """Loads a checkpoint without running code from it.

    Raises:
        VaclipError: If the file or the device cannot be used, or the model was trained with
            control maps.
    """
    model, about = load_model(checkpoint, device)
    if control := about["config"]["data"].get("control"):
        raise VaclipError(
            f"{checkpoint} was trained with control maps (data.control={control}), to be compared "
            "with in a study; predict with an arm that saw the clinicians' maps"
        )
    return Predictor(
        model,
        tuple(about["classes"]),
        about["config"]["data"],
        about["model"]["attn_in_channels"],
        tuple(about["annotators"]),
    )


def predict_videos(
    checkpoint: Path,
    videos: Sequence[Path],
    *,
    attention: Path | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Predicts the class of every clip.

    Args:
        checkpoint: A ``best.ckpt`` or ``last.ckpt`` of a run folder.
        videos: Files, or folders whose video files are taken, subfolders too.
        attention: A study folder with the clips and annotations of these videos. A video is looked
            up by its path, else by its content, so that a copy is found and another file of
            the same name is not taken for it.
        device: Of torch.
        progress: Called with (done, total) after each clip.

    Returns:
        The table, and what is wrong with the clips that are not in it. Segments without a
        valid map are left out where the diagnosis needs one; ``segments`` counts the others.

    Raises:
        VaclipError: If maps are needed and there is no ``attention``, a video is not in its
            study, or no clip at all can be predicted.
    """
    predictor = load_predictor(checkpoint, device)
    if predictor.model.diagnosis_needs_map and attention is None:
        raise VaclipError(
            f"the model in {checkpoint} was trained to look where a clinician looks, and its "
            "diagnosis needs an attention map; give --attention STUDY, a study folder that "
            "names these videos, or train a model without (experiment=B1)"
        )
    files = find_videos(videos)
    study = load_study(attention) if attention else _bare_study(files)
    annotators = _annotators(predictor, study)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="vaclip-") as name:
        scratch = Path(name)
        clips = _clips_of(files, study, scratch) if attention else list(study.clips)
        for done, clip in enumerate(clips, start=1):
            try:
                rows.append(_predict_clip(predictor, study, clip, annotators, scratch, device))
            except VaclipError as error:
                failures.append(str(error))
            if progress:
                progress(done, len(clips))
    if not rows:
        raise VaclipError("no clip can be predicted:\n  " + "\n  ".join(failures))
    return Predictions(pd.DataFrame(rows), failures)


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


def _predict_clip(
    predictor: Predictor,
    study: Study,
    clip: Clip,
    annotators: tuple[str, ...],
    scratch: Path,
    device: str,
) -> dict[str, Any]:
    data = predictor.data
    settings = SampleSettings(
        data["fps"], tuple(data["size"]), annotators, data["combine"], data["keypoint_sigma"]
    )
    cached = cache_clip(study, clip, settings, scratch)
    segments = SegmentDataset(
        [ClipItem(cached, 0, -1, -1, -1)], data["frames"], data["stride"], predictor.channels
    )
    probs: list[Tensor] = []
    for start in range(0, len(segments), data["batch_size"]):
        numbers = range(start, min(start + data["batch_size"], len(segments)))
        batch = collate([segments[number] for number in numbers])
        batch = prepare_batch({name: value.to(device) for name, value in batch.items()})
        with torch.inference_mode():
            outputs = predictor.model(
                batch[keys.VIDEO], batch[keys.ATTN_MAP], batch[keys.ATTN_VALID], embed=False
            )
        usable = outputs[keys.LOGITS].float().softmax(dim=1).cpu()
        if predictor.model.diagnosis_needs_map:
            usable = usable[batch[keys.ATTN_VALID].cpu()]
        probs.append(usable)
    joined = torch.cat(probs)
    if not len(joined):
        raise VaclipError(
            f"clip '{clip.clip_id}' has no attention map by {', '.join(annotators) or 'anyone'}, "
            "and the model's diagnosis needs one; add it to attention.csv"
        )
    mean = joined.mean(dim=0).tolist()
    named = {f"{keys.PRED_PROB_PREFIX}{c}": p for c, p in zip(predictor.classes, mean, strict=True)}
    return {
        keys.PRED_CLIP: clip.clip_id,
        "video": str(clip.video),
        "segments": len(joined),
        "predicted": predictor.classes[mean.index(max(mean))],
        **named,
    }


def write_predictions(table: pd.DataFrame, *, csv: Path | None, json: Path | None) -> None:
    """Writes the table to the files that are asked for."""
    if csv:
        with atomic_file(csv) as temporary:
            table.to_csv(temporary, index=False)
    if json:
        with atomic_file(json) as temporary:
            table.to_json(temporary, orient="records", indent=2)


def prediction_view(table: pd.DataFrame) -> Table:
    """Returns the table for a terminal."""
    view = Table(title="Predictions")
    shown = [name for name in table.columns if name != "video"]
    for name in shown:
        view.add_column(name.removeprefix(keys.PRED_PROB_PREFIX), overflow="fold")
    for row in table[shown].itertuples(index=False):
        view.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row))
    return view
