"""From settings to a study that can be trained on: decoded, numbered, split, with its maps."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaclip.config import Config, DataConfig
from vaclip.console import progress_bar
from vaclip.data.cache import SampleSettings, cache_study, map_identities
from vaclip.data.control_maps import with_control_maps
from vaclip.data.datamodule import clip_items, fold_datasets
from vaclip.data.dataset import ClipItem, SegmentDataset
from vaclip.data.splits import SPLITS, SplitPlan, make_plan, patient_labels
from vaclip.data.study import Study, load_study
from vaclip.data.synthetic_gait import GaitCohort, cohort_folder
from vaclip.data.transforms import Augmentation
from vaclip.errors import VaclipError, did_you_mean
from vaclip.files import cache_root
from vaclip.maps import CONTROLS

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedStudy:
    """A study, decoded, with its clips numbered."""

    study: Study
    items: list[ClipItem]
    annotators: tuple[str, ...]
    channels: int


def open_study(data: DataConfig) -> Study:
    """Loads the study that the settings name; the default cohort is made if need be."""
    return load_study(study_folder(data, cache_root(data.cache_dir)))


def prepare_study(data: DataConfig, study: Study) -> PreparedStudy:
    """Fills the cache, and numbers clips and annotations."""
    root = cache_root(data.cache_dir)
    settings = SampleSettings(
        data.fps, (data.size[0], data.size[1]), _annotators(data, study), data.combine,
        data.keypoint_sigma,
    )  # fmt: skip
    with progress_bar("Decoding clips (once)") as progress:
        cached = cache_study(study, settings, root / "segments", progress=progress)
    identities = map_identities(study, settings, root / "segments")
    channels = len(settings.annotators) if data.combine == "stack" else 1
    items = clip_items(study, cached, identities)
    return PreparedStudy(study, items, settings.annotators, channels)


def study_folder(data: DataConfig, root: Path) -> Path:
    """Returns the folder of the study, making the default cohort under ``root`` if need be."""
    if data.source == "folder":
        return Path(str(data.root)).expanduser()
    cohort = GaitCohort(**dataclasses.asdict(data.synthetic))
    with progress_bar("Making the default cohort (once)") as progress:
        return cohort_folder(cohort, root, progress)


def _annotators(data: DataConfig, study: Study) -> tuple[str, ...]:
    if data.annotators is None:
        return study.annotators
    for name in data.annotators:
        if name not in study.annotators:
            known = ", ".join(study.annotators) or "nobody"
            raise VaclipError(
                f"data.annotators names '{name}', but the study was marked by: {known}."
                f"{did_you_mean(name, study.annotators)}"
            )
    return tuple(data.annotators)


def check_controls(config: Config) -> None:
    """Raises a VaclipError for a control map that there is not."""
    for key in ("control", "test_control"):
        name = getattr(config.data, key)
        if name is not None and name not in CONTROLS:
            raise VaclipError(
                f"data.{key} is '{name}'; use one of {', '.join(CONTROLS)}, or null."
                f"{did_you_mean(name, CONTROLS)}"
            )


def check_maps(config: Config, prepared: PreparedStudy) -> None:
    """Raises a VaclipError where the maps do not fit what the model does with them."""
    model = config.model
    if model.attn_in_channels != prepared.channels:
        raise VaclipError(
            f"model.attn_in_channels is {model.attn_in_channels}, but data.combine=stack gives "
            f"{prepared.channels} channel(s), one an annotator"
        )
    wants_map = (
        model.map_guided
        or config.loss.clip_weight > 0
        or model.lambda_token > 0
        or model.clip_classifier_source != "video"
    )
    if wants_map and all(item.cached.attn is None for item in prepared.items):
        raise VaclipError(
            "no clip of the study is marked by the chosen annotators, so nothing can guide or "
            "align; add attention.csv, or train on video alone with model.map_guided=false "
            "loss.clip_weight=0 model.lambda_token=0"
        )


def split_plan(config: Config, study: Study) -> SplitPlan:
    """Deals the study's patients as the settings say."""
    labels = patient_labels([(clip.patient_id, clip.label) for clip in study.clips])
    return make_plan(labels, config.split.folds, config.split.seed)


def prepare_fold(
    config: Config, prepared: PreparedStudy, fold: dict[str, tuple[str, ...]]
) -> dict[str, SegmentDataset]:
    """Returns the segments of a fold by split, with control maps where the settings say so."""
    return fold_datasets(
        _with_controls(config, prepared.items, fold),
        fold,
        frames=config.data.frames,
        stride=config.data.stride,
        channels=prepared.channels,
        augmentation=training_augmentation(config.data),
        seed=config.seed,
    )


def _with_controls(
    config: Config, items: list[ClipItem], fold: dict[str, tuple[str, ...]]
) -> list[ClipItem]:
    """Replaces the maps of a fold's clips where the settings ask for control maps."""
    data = config.data
    test_control = data.control if data.test_control is None else data.test_control

    def replaced(control: str | None) -> list[ClipItem]:
        if control is None:
            return items
        root = cache_root(data.cache_dir) / "segments"
        groups = [fold[split] for split in SPLITS]
        return with_control_maps(items, groups, control, fps=data.fps, seed=config.seed, root=root)

    trained = replaced(data.control)
    if test_control == data.control:
        return trained
    return [
        tested if tested.cached.clip.patient_id in fold["test"] else own
        for own, tested in zip(trained, replaced(test_control), strict=True)
    ]


def training_augmentation(data: DataConfig) -> Augmentation | None:
    """Returns the augmentation of training segments, None where it is off."""
    settings = dataclasses.asdict(data.augment)
    enabled = settings.pop("enabled")
    return Augmentation(**settings) if enabled else None


def describe_study(prepared: PreparedStudy) -> dict[str, Any]:
    """Returns the study's counts, and a hash that changes with anything a model sees of it."""
    rows = [
        [item.cached.clip.clip_id, item.cached.clip.patient_id, item.cached.clip.label]
        # The cache names its entries by what they were made from.
        + [path.parent.name if path else "" for path in (item.cached.frames, item.cached.attn)]
        for item in prepared.items
    ]
    content = json.dumps([prepared.study.classes, rows], ensure_ascii=False)
    return {
        "name": prepared.study.name,
        "classes": list(prepared.study.classes),
        "annotators": list(prepared.annotators),
        "patients": len(prepared.study.patients),
        "clips": len(rows),
        "content_hash": hashlib.sha256(content.encode()).hexdigest(),
    }


def report_maps(prepared: PreparedStudy) -> None:
    """Says how many clips and distinct annotations there are."""
    without = sum(item.cached.attn is None for item in prepared.items)
    distinct = len({item.map_id for item in prepared.items} - {-1})
    _LOG.info(
        "%s: %d patients, %d clips, %d distinct annotations, %d clips without one%s",
        prepared.study.name,
        len(prepared.study.patients),
        len(prepared.items),
        distinct,
        without,
        " (these are pooled without guidance and stay out of the CLIP term)" if without else "",
    )
