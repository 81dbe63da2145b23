"""The typed configuration. Values and their explanations stand in ``conf/*.yaml``.

An unknown key or a value of the wrong type is an error; `check_config` adds what concerns
several fields.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from vaclip.errors import VaclipError, did_you_mean

# OmegaConf reads these annotations at run time. It knows no `Literal` and cannot expand a
# `Union` node, so choices are checked where they are used and "int or str" is `Any`.


@dataclass
class SyntheticConfig:
    """The parameters of the default cohort, see `vaclip.cohort.synthetic_gait.GaitCohort`."""

    patients: int
    clips_per_patient: int
    sign_strength: float
    agreement: float
    informative: bool
    seed: int


@dataclass
class AugmentConfig:
    """See `vaclip.data.transforms.Augmentation`."""

    enabled: bool
    crop: float
    brightness: float
    contrast: float
    flip: bool


@dataclass
class DataConfig:
    """Which study, and how it is sampled."""

    source: str
    root: str | None
    synthetic: SyntheticConfig
    frames: int
    fps: float
    stride: int
    size: list[int]
    annotators: list[str] | None
    train_annotators: list[str] | None
    test_annotators: list[str] | None
    combine: str
    keypoint_sigma: float
    control: str | None
    test_control: str | None
    test_noise: str | None
    test_noise_strength: float
    batch_size: int
    num_workers: int
    cache_dir: str | None
    augment: AugmentConfig


@dataclass
class SplitConfig:
    """Nested cross-validation by patient."""

    folds: int
    fold: Any
    seed: int
    train_fraction: float


@dataclass
class ModelConfig:
    """See `vaclip.models.VideoAttentionCLIP`."""

    clip_backbone: str
    clip_feature_dim: int
    clip_embed_dim: int
    model_class_num: int | None
    attn_in_channels: int
    map_guided: bool
    map_guided_type: str
    map_guided_hidden_dim: int
    map_guided_sigmoid_gate: bool
    clip_classifier_source: str
    backbone_width: int
    lambda_token: float


@dataclass
class LossConfig:
    """See `vaclip.losses.CompositeLoss` and `vaclip.losses.contrastive.ClipLoss`."""

    clip_weight: float
    clip_positives: str
    clip_loss: str
    mask_same_patient: bool
    clip_temperature: float
    learn_temperature: bool
    clip_bias: float
    soft_map_temperature: float
    clip_chunk: int
    grad_cache_chunk: int | None


@dataclass
class OptimConfig:
    """AdamW with linear warm-up and cosine decay."""

    lr: float
    weight_decay: float
    warmup_share: float


@dataclass
class TrainerConfig:
    """Arguments of `lightning.Trainer`, by their own names."""

    max_epochs: int
    accelerator: str
    devices: Any
    strategy: str
    precision: str
    accumulate_grad_batches: int
    gradient_clip_val: float | None
    sync_batchnorm: bool
    log_every_n_steps: int
    limit_train_batches: Any
    detect_anomaly: bool
    profiler: str | None
    enable_progress_bar: bool


@dataclass
class Config:
    """Everything that a run depends on."""

    arm: str
    seed: int
    runs_dir: str
    run_dir: str | None
    resume: bool
    data: DataConfig
    split: SplitConfig
    model: ModelConfig
    loss: LossConfig
    optim: OptimConfig
    trainer: TrainerConfig


@dataclass
class NoiseConfig:
    """Strengths by kind, see `vaclip.maps.NOISE`."""

    displacement: list[float]
    blur: list[float]
    gain: list[float]
    dropout: list[float]


@dataclass
class StudyConfig:
    """What a study runs, see `vaclip.ablation.plan`."""

    arms: list[str]
    seeds: list[int]
    folds: list[int] | None
    train_fraction: list[float]
    train_fraction_arms: list[str]
    annotator_arms: list[str]
    noise: NoiseConfig
    noise_arms: list[str]
    jobs: int | None
    dry_run: bool


@dataclass
class StudyRunConfig(Config):
    """The settings of a study: those that its runs share, and what it runs."""

    study: StudyConfig


def uses_maps(config: Config) -> bool:
    """Whether anything in a configuration looks at the maps."""
    model = config.model
    return (
        model.map_guided
        or config.loss.clip_weight > 0
        or model.lambda_token > 0
        or model.clip_classifier_source != "video"
    )


ConfigStore.instance().store(name="schema", node=Config)
ConfigStore.instance().store(name="study_schema", node=StudyRunConfig)


def all_keys(schema: type = Config, prefix: str = "") -> Iterator[str]:
    """Yields the dotted name of every setting of a configuration dataclass."""
    for name, kind in get_type_hints(schema).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            yield from all_keys(cast(type, kind), f"{prefix}{name}.")


def unknown_key(key: str, schema: type = Config) -> VaclipError:
    """Returns the error for a setting that there is not."""
    keys = list(all_keys(schema))
    groups = {name.rpartition(".")[0] for name in keys}
    hint = did_you_mean(key, [name for name in keys if name not in groups])
    command = "vaclip train" if schema is Config else "vaclip study"
    return VaclipError(f"unknown setting '{key}'.{hint} `{command} --cfg job` prints all.")


def typed_config(composed: DictConfig) -> Config:
    """Turns what Hydra composed into a checked `Config`, or a `StudyRunConfig` for a study.

    Raises:
        VaclipError: If a key is unknown, a value is missing, or fields contradict each other.
    """
    schema = StudyRunConfig if "study" in composed else Config
    known = set(all_keys(schema))
    present = set(_composed_keys(OmegaConf.to_container(composed)))
    for key in sorted(present - known):
        raise unknown_key(key, schema)
    for key in sorted(known - present):
        raise VaclipError(f"a setting is missing: {key}")
    try:
        config = OmegaConf.to_object(composed)
    except MissingMandatoryValue as error:
        raise VaclipError(f"a value is missing: {error.full_key}") from error
    assert isinstance(config, Config)
    check_config(config)
    return config


def _composed_keys(tree: Any, prefix: str = "") -> Iterator[str]:
    """Yields keys that Hydra's ``+key=value`` may have added behind the schema's back."""
    for name, value in tree.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _composed_keys(value, f"{prefix}{name}.")


def check_config(config: Config) -> None:
    """Checks ranges and what concerns several fields.

    Raises:
        VaclipError: Naming the key, the value and what is allowed.
    """
    _check_numbers(config)
    data, split = config.data, config.split
    choices = {
        "data.source": (data.source, ("synthetic_gait", "folder")),
        "data.combine": (data.combine, ("mean", "max", "stack")),
        "trainer.precision": (config.trainer.precision, ("32-true", "bf16-mixed", "16-mixed")),
    }
    for key, (value, allowed) in choices.items():
        _require(value in allowed, key, value, f"use one of {', '.join(allowed)}")
    _require(
        len(data.size) == 2 and min(data.size) >= 16, "data.size", data.size, "[H, W], 16 or more"
    )
    _require(0 < data.augment.crop <= 1, "data.augment.crop", data.augment.crop, "use (0, 1]")
    _require(
        0 < split.train_fraction <= 1, "split.train_fraction", split.train_fraction, "use (0, 1]"
    )
    _require(
        0 <= config.optim.warmup_share < 1,
        "optim.warmup_share",
        config.optim.warmup_share,
        "use [0, 1)",
    )
    whole = isinstance(split.fold, int) and not isinstance(split.fold, bool)
    in_range = whole and 0 <= split.fold < split.folds
    _require(
        split.fold == "all" or in_range, "split.fold", split.fold, f"0 to {split.folds - 1}, or all"
    )
    if (data.source == "folder") != bool(data.root):
        raise VaclipError(
            "data=folder needs data.root=PATH, the study folder"
            if data.source == "folder"
            else f"data.root={data.root} is not used by the default cohort; add data=folder"
        )
    _require(
        re.fullmatch(r"[\w.-]+", config.arm) is not None,
        "arm",
        config.arm,
        "use letters, digits, '.', '_' and '-', because it names the run folder",
    )
    _check_model(config)


def _check_numbers(config: Config) -> None:
    data, model, split = config.data, config.model, config.split
    positive = {
        "data.frames": data.frames,
        "data.fps": data.fps,
        "data.stride": data.stride,
        "data.batch_size": data.batch_size,
        "data.keypoint_sigma": data.keypoint_sigma,
        "model.clip_feature_dim": model.clip_feature_dim,
        "model.clip_embed_dim": model.clip_embed_dim,
        "model.backbone_width": model.backbone_width,
        "model.map_guided_hidden_dim": model.map_guided_hidden_dim,
        "loss.clip_temperature": config.loss.clip_temperature,
        "loss.soft_map_temperature": config.loss.soft_map_temperature,
        "loss.clip_chunk": config.loss.clip_chunk,
        "loss.grad_cache_chunk": 1
        if config.loss.grad_cache_chunk is None
        else config.loss.grad_cache_chunk,
        "optim.lr": config.optim.lr,
        "trainer.max_epochs": config.trainer.max_epochs,
        "trainer.limit_train_batches": config.trainer.limit_train_batches,
        "trainer.accumulate_grad_batches": config.trainer.accumulate_grad_batches,
    }
    not_negative = {
        "model.lambda_token": model.lambda_token,
        "loss.clip_weight": config.loss.clip_weight,
        "optim.weight_decay": config.optim.weight_decay,
        "data.num_workers": data.num_workers,
        "seed": config.seed,
        "split.seed": split.seed,
        "data.test_noise_strength": data.test_noise_strength,
        "data.augment.brightness": data.augment.brightness,
        "data.augment.contrast": data.augment.contrast,
    }
    bias = config.loss.clip_bias
    _require(math.isfinite(bias), "loss.clip_bias", bias, "it must be a number")
    for key, value in positive.items():
        _require(0 < value < math.inf, key, value, "it must be above 0")
    for key, value in not_negative.items():
        _require(0 <= value < math.inf, key, value, "it must be a number, not negative")


def _check_model(config: Config) -> None:
    model = config.model
    if config.trainer.sync_batchnorm and config.loss.grad_cache_chunk is not None:
        raise VaclipError(
            "trainer.sync_batchnorm=true does not go with loss.grad_cache_chunk: processes may "
            "have different numbers of chunks, and would wait for each other for ever"
        )
    if config.data.combine != "stack" and model.attn_in_channels != 1:
        raise VaclipError(
            f"model.attn_in_channels is {model.attn_in_channels}, but data.combine="
            f"{config.data.combine} gives maps of one channel; data.combine=stack gives one an "
            "annotator"
        )


def _require(condition: bool, key: str, value: object, allowed: str) -> None:
    if not condition:
        raise VaclipError(f"{key} is {value}; {allowed}")
