"""From settings to a study that can be trained on: decoded, numbered, split, with its maps."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from vaclip.cohort.synthetic_gait import GaitCohort
from vaclip.cohort.write_gait import cohort_folder
from vaclip.config import Config, DataConfig, ModelConfig, uses_maps
from vaclip.console import progress_bar
from vaclip.data.arrays import array_name
from vaclip.data.cache import SampleSettings, cache_study, clip_cache, map_identities
from vaclip.data.control_maps import with_control_maps
from vaclip.data.datamodule import clip_items, fold_datasets
from vaclip.data.dataset import SegmentDataset
from vaclip.data.items import ClipItem, columns_of, take_items
from vaclip.data.permuted_labels import with_permuted_labels
from vaclip.data.prior_map import prior_map
from vaclip.data.shards import open_shards
from vaclip.data.splits import (
    SPLITS,
    SplitPlan,
    make_plan,
    make_site_plan,
    patient_labels,
    train_subset,
)
from vaclip.data.transforms import Augmentation
from vaclip.errors import VaclipError, did_you_mean
from vaclip.features import EncoderInfo
from vaclip.files import cache_root, json_digest, user_path
from vaclip.maps import CONTROLS, NOISE, MapNoise
from vaclip.store import fetched_folder
from vaclip.study.clip_table import distinct_facts
from vaclip.study.load import load_study
from vaclip.study.study import Study

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedStudy:
    """A study, decoded, with its clips numbered.

    Attributes:
        study: The study.
        items: Its clips with the maps of training and validation.
        test_items: The same clips with the maps of the test patients; ``items`` itself where
            the annotators are the same.
        annotators: Whose annotations training gets.
        channels: Of the maps.
        encoder: Whose tokens the clips have, or which is trained along; None where there is none.
        shards: Digest of the shards that the clips lie in; None where each has files of its own.
    """

    study: Study
    items: Sequence[ClipItem]
    test_items: Sequence[ClipItem]
    annotators: tuple[str, ...]
    channels: int
    encoder: EncoderInfo | None = None
    shards: str | None = None


def data_settings(stated: Mapping[str, Any], root: Path | None = None) -> DataConfig:
    """Reads the ``data`` settings that a run keeps.

    Args:
        stated: As the run folder has them.
        root: Where the study lies now; None for where the run found it.

    Raises:
        VaclipError: If it found shards, which are no study folder.
    """
    if root is None and stated.get("shards"):
        raise VaclipError("the run read shards, which hold no videos; name its study folder too")
    moved = {} if root is None else {"source": "folder", "root": str(root), "shards": None}
    found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), stated, moved))
    assert isinstance(found, DataConfig)
    return found


def open_study(data: DataConfig) -> Study:
    """Loads the study that the settings name; the default cohort is made if need be."""
    if data.shards:
        return open_shards(data.shards, fetched_folder(data.cache_dir)).study
    return load_study(study_folder(data, cache_root(data.cache_dir)))


def prepare_study(data: DataConfig, study: Study, *, workers: int = -1) -> PreparedStudy:
    """Fills the cache, and numbers clips and annotations.

    Args:
        data: The settings.
        study: The study.
        workers: Processes that decode; -1 for one a core.
    """
    trained, tested = chosen_annotators(data, study)
    items = _cached_items(data, study, trained, workers)
    test_items = items if tested == trained else _cached_items(data, study, tested, workers)
    channels = len(trained) if data.combine == "stack" else 1
    if data.combine == "stack" and len(tested) != len(trained):
        raise VaclipError(
            f"data.combine=stack gives one channel an annotator, but data.test_annotators names "
            f"{len(tested)} of them and training has {len(trained)}"
        )
    return PreparedStudy(study, items, test_items, trained, channels)


def _cached_items(
    data: DataConfig, study: Study, annotators: tuple[str, ...], workers: int
) -> list[ClipItem]:
    root = clip_cache(data.cache_dir)
    settings = sample_settings(data, annotators)
    with progress_bar("Decoding clips (once)") as progress:
        limit_s = data.decode_limit_s
        cached = cache_study(
            study, settings, root, workers=workers, limit_s=limit_s, progress=progress
        )
    return clip_items(study, cached, map_identities(study, settings, root))


def sample_settings(data: DataConfig, annotators: tuple[str, ...]) -> SampleSettings:
    """Returns how clips and the maps of some annotators are sampled."""
    return SampleSettings.from_settings(dataclasses.asdict(data), annotators)


def study_folder(data: DataConfig, root: Path) -> Path:
    """Returns the folder of the study, making the default cohort under ``root`` if need be."""
    if data.source == "folder":
        return user_path(str(data.root))
    values = dataclasses.asdict(data.synthetic)
    values["truth"] = values["truth"] or "null"  # YAML reads null as nothing
    cohort = GaitCohort(**values)
    with progress_bar("Making the default cohort (once)") as progress:
        return cohort_folder(cohort, root, progress)


def chosen_annotators(data: DataConfig, study: Study) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns whose annotations training gets, and whose the test patients get.

    Raises:
        VaclipError: If the settings name somebody who did not annotate the study.
    """
    chosen = [study.annotators]
    for key in ("annotators", "train_annotators", "test_annotators"):
        names = getattr(data, key)
        for name in names or ():
            if name not in study.annotators:
                known = ", ".join(study.annotators) or "nobody"
                raise VaclipError(
                    f"data.{key} names '{name}', but the study was annotated by: {known}."
                    f"{did_you_mean(name, study.annotators)}"
                )
        chosen.append(chosen[-1] if names is None else tuple(names))
    return chosen[2], chosen[3]


def check_map_settings(config: Config) -> None:
    """Raises a VaclipError for a control map or a noise that there is not."""
    for key, known in (("control", CONTROLS), ("test_control", CONTROLS), ("test_noise", NOISE)):
        name = getattr(config.data, key)
        if name is not None and name not in known:
            raise VaclipError(
                f"data.{key} is '{name}'; use one of {', '.join(known)}, or null."
                f"{did_you_mean(name, known)}"
            )


def check_maps(config: Config, prepared: PreparedStudy) -> None:
    """Raises a VaclipError where the maps do not fit what the model does with them."""
    model = config.model
    if model.attn_in_channels != prepared.channels:
        raise VaclipError(
            f"model.attn_in_channels is {model.attn_in_channels}, but data.combine=stack gives "
            f"{prepared.channels} channel(s), one an annotator"
        )
    if uses_maps(config) and not columns_of(prepared.items).mapped.any():
        raise VaclipError(
            "no clip of the study is annotated by the chosen annotators, so nothing can guide or "
            "align; add attention.csv, or train on video alone with model.map_guided=false "
            "loss.clip_weight=0 model.lambda_token=0"
        )


def uses_video(config: Config) -> bool:
    """Whether anything in a configuration looks at the video, or its tokens."""
    model = config.model
    return (
        model.clip_classifier_source != "attn"
        or config.loss.clip_weight > 0
        or model.lambda_token > 0
        or model.lambda_map > 0
    )


def split_plan(config: Config, study: Study) -> SplitPlan:
    """Deals the study's patients as the settings say."""
    labels = patient_labels(distinct_facts(study.clips, "patient_id", "label"))
    folds, seed = config.split.folds, config.split.seed
    if config.split.by == "site":
        sites = patient_labels(distinct_facts(study.clips, "patient_id", "site"))
        return make_site_plan(labels, sites, folds, seed)
    return make_plan(labels, folds, seed)


def prepare_fold(
    config: Config, prepared: PreparedStudy, fold: dict[str, tuple[str, ...]]
) -> dict[str, SegmentDataset]:
    """Returns the segments of a fold by split, with maps and labels as the settings ask for."""
    data = config.data
    if config.split.train_fraction < 1:
        fold = {**fold, "train": _fewer_to_train_on(config, prepared.study, fold)}
    used = {patient for split in SPLITS for patient in fold[split]}
    items = _with_controls(config, prepared, fold)
    patient_ids = columns_of(items).patient_ids
    items = take_items(items, [n for n, patient in enumerate(patient_ids) if patient in used])
    if data.permute_labels:
        items = with_permuted_labels(items, [fold["train"], fold["val"]], config.seed)
    noise = (
        MapNoise(data.test_noise, data.test_noise_strength, config.seed)
        if data.test_noise
        else None
    )
    return fold_datasets(
        items,
        fold,
        frames=data.frames,
        stride=data.stride,
        channels=prepared.channels,
        augmentation=training_augmentation(data),
        seed=config.seed,
        test_noise=noise,
        jitter=config.features.jitter,
    )


def _fewer_to_train_on(
    config: Config, study: Study, fold: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    labels = patient_labels(distinct_facts(study.clips, "patient_id", "label"))
    return train_subset(fold["train"], labels, config.split.train_fraction, config.split.seed)


def _with_controls(
    config: Config, prepared: PreparedStudy, fold: dict[str, tuple[str, ...]]
) -> Sequence[ClipItem]:
    """Gives a fold's clips their own maps, or control maps where the settings ask for them."""
    data = config.data
    test_control = data.control if data.test_control is None else data.test_control

    def replaced(items: Sequence[ClipItem], control: str | None) -> Sequence[ClipItem]:
        if control is None:
            return items
        root = clip_cache(data.cache_dir)
        groups = [fold[split] for split in SPLITS]
        return with_control_maps(items, groups, control, fps=data.fps, seed=config.seed, root=root)

    trained = replaced(prepared.items, data.control)
    if test_control == data.control and prepared.test_items is prepared.items:
        return trained
    return [
        tested if tested.cached.clip.patient_id in fold["test"] else own
        for own, tested in zip(trained, replaced(prepared.test_items, test_control), strict=True)
    ]


def training_prior(model: ModelConfig, items: Sequence[ClipItem]) -> torch.Tensor | None:
    """Returns the mean map of training, (C, H, W), which can stand for that of a new patient.

    None where no given map guides the model, or training has none.
    """
    given = model.map_guided and model.map_source != "predicted"
    facts = columns_of(items)
    if not given or not facts.mapped.any():
        return None
    return torch.from_numpy(prior_map(items, set(facts.patient_ids)))


def training_augmentation(data: DataConfig) -> Augmentation | None:
    """Returns the augmentation of training segments, None where it is off."""
    settings = dataclasses.asdict(data.augment)
    enabled = settings.pop("enabled")
    return Augmentation(**settings) if enabled else None


def describe_study(prepared: PreparedStudy) -> dict[str, Any]:
    """Returns the study's counts, and a hash that changes with anything a model sees of it."""
    rows: list[Any] = (
        [prepared.shards]
        if prepared.shards
        else [
            [item.cached.clip.clip_id, item.cached.clip.patient_id, item.cached.clip.label]
            # The cache names its entries by what they were made from.
            + [array_name(path) if path else "" for path in (item.cached.frames, item.cached.attn)]
            + [array_name(tokens.path) for tokens in [item.cached.tokens] if tokens]
            for item in prepared.items
        ]
    )
    return {
        "name": prepared.study.name,
        "classes": list(prepared.study.classes),
        "annotators": list(prepared.annotators),
        "patients": len(prepared.study.patients),
        "clips": len(prepared.items),
        "content_hash": json_digest([prepared.study.classes, rows, *_trained_along(prepared)]),
    }


def _trained_along(prepared: PreparedStudy) -> list[str]:
    """Returns the weights that a run begins with; entries of tokens are named by theirs."""
    encoder = prepared.encoder
    seen = any(item.cached.tokens for item in prepared.items)
    return [] if encoder is None or seen else [encoder.weights]


def report_maps(prepared: PreparedStudy) -> None:
    """Says how many clips and distinct annotations there are."""
    facts = columns_of(prepared.items)
    without = int((~facts.mapped).sum())
    distinct = len(set(facts.map_id.tolist()) - {-1})
    _LOG.info(
        "%s: %d patients, %d clips (%d excluded), %d distinct annotations, %d clips without one%s",
        prepared.study.name,
        len(prepared.study.patients),
        len(prepared.items),
        len(prepared.study.excluded),
        distinct,
        without,
        " (these are pooled without guidance and stay out of the CLIP term)" if without else "",
    )
