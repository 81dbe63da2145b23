"""The typed configuration. What each setting means stands in ``conf/*.yaml``.

The defaults here and there are the same, which a test holds. An unknown key or a value of the
wrong type is an error; `check_config` adds what each field allows and what concerns several.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from vaclip.contradictions import check_predicted_maps, check_shards
from vaclip.errors import VaclipError, did_you_mean
from vaclip.features_config import FeaturesConfig, check_features
from vaclip.settings import (
    FINITE,
    FOLDER,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Allowed,
    all_settings,
    flat_settings,
    listed,
    number,
    one_of,
    setting,
)
from vaclip.tune_config import TuneConfig, check_tune

# OmegaConf reads these annotations at run time. It knows no `Literal` and cannot expand a
# `Union` node, so "int or str" is `Any`. Names of parts (encoders, guidance, objectives, maps) are
# checked where the parts are built: there may be more of them than this package has.

_NAME = Allowed(
    lambda name: re.fullmatch(r"[\w.-]+", name) is not None,
    "of letters, digits, '.', '_' and '-', because it names the run folder",
)


@dataclass
class SyntheticConfig:
    """The parameters of the default cohort, see `vaclip.cohort.synthetic_gait.GaitCohort`."""

    patients: int = 60
    clips_per_patient: int = 4
    truth: str | None = setting("locates", one_of("locates", "leaks", "common", "null"))
    sign_strength: float = 1.0
    agreement: float = 0.46
    seed: int = 0


@dataclass
class AugmentConfig:
    """See `vaclip.data.transforms.Augmentation`."""

    enabled: bool = True
    crop: float = setting(0.875, SHARE)
    brightness: float = setting(0.1, NOT_NEGATIVE)
    contrast: float = setting(0.2, NOT_NEGATIVE)
    flip: bool = False


@dataclass
class DataConfig:
    """Which study, and how it is sampled."""

    source: str = setting("synthetic_gait", one_of("synthetic_gait", "folder"))
    root: str | None = None
    synthetic: SyntheticConfig = setting(SyntheticConfig)
    frames: int = setting(16, POSITIVE)
    fps: float = setting(8.0, POSITIVE)
    stride: int = setting(16, POSITIVE)
    size: list[int] = setting(
        [96, 96], Allowed(lambda s: len(s) == 2 and min(s) >= 16, "[H, W], 16 or more each")
    )
    annotators: list[str] | None = None
    train_annotators: list[str] | None = None
    test_annotators: list[str] | None = None
    combine: str = setting("mean", one_of("mean", "max", "stack"))
    keypoint_sigma: float = setting(0.06, POSITIVE)
    control: str | None = None
    test_control: str | None = None
    test_noise: str | None = None
    test_noise_strength: float = setting(0.0, NOT_NEGATIVE)
    permute_labels: bool = False
    batch_size: int = setting(16, POSITIVE)
    num_workers: int = setting(0, NOT_NEGATIVE)
    shards: str | None = None
    shard_window: int = setting(4, POSITIVE)
    cache_dir: str | None = setting(None, FOLDER)
    decode_limit_s: float = setting(3600.0, POSITIVE)
    augment: AugmentConfig = setting(AugmentConfig)


@dataclass
class SplitConfig:
    """Nested cross-validation; no patient is in two splits."""

    by: str = setting("patient", one_of("patient", "site"))
    folds: int = 5
    fold: Any = 0
    seed: int = setting(0, NOT_NEGATIVE)
    train_fraction: float = setting(1.0, SHARE)


@dataclass
class ModelConfig:
    """See `vaclip.models.VideoAttentionCLIP`."""

    clip_backbone: str = "3dcnn"
    clip_feature_dim: int = setting(512, POSITIVE)
    clip_embed_dim: int = setting(256, POSITIVE)
    model_class_num: int | None = None
    attn_in_channels: int = 1
    map_guided: bool = True
    map_guided_type: str = "spatiotemporal"
    map_guided_hidden_dim: int = setting(128, POSITIVE)
    map_guided_sigmoid_gate: bool = False
    map_guided_global: bool = False
    map_source: str = "given"
    map_head: str = setting("trained", one_of("trained", "ridge"))
    map_temperature: float = setting(1.0, POSITIVE)
    map_dropout: float = setting(1.0, number(lambda x: 0 <= x <= 1, "in [0, 1]"))
    map_crossfit: int = setting(0, number(lambda x: x == 0 or x >= 2, "0, or 2 or more"))
    clip_classifier_source: str = "video"
    backbone_width: int = setting(16, POSITIVE)
    lambda_token: float = setting(0.0, NOT_NEGATIVE)
    lambda_map: float = setting(0.0, NOT_NEGATIVE)
    lambda_map_cc: float = setting(1.0, NOT_NEGATIVE)
    lambda_distill: float = setting(0.0, NOT_NEGATIVE)
    distill_temperature: float = setting(2.0, POSITIVE)
    distill_crossfit: int = setting(3, number(lambda x: x >= 2, "2 or more"))


@dataclass
class LossConfig:
    """See `vaclip.losses.CompositeLoss` and `vaclip.losses.contrastive.ClipLoss`."""

    clip_weight: float = setting(1.0, NOT_NEGATIVE)
    class_weight: str = setting("none", one_of("none", "balanced"))
    label_smoothing: float = setting(0.0, number(lambda x: 0 <= x < 1, "in [0, 1)"))
    clip_positives: str = "paired"
    clip_loss: str = "softmax"
    mask_same_patient: bool = True
    clip_temperature: float = setting(0.07, POSITIVE)
    learn_temperature: bool = True
    clip_bias: float = setting(-10.0, FINITE)
    soft_map_temperature: float = setting(0.1, POSITIVE)
    clip_chunk: int = setting(1024, POSITIVE)
    grad_cache_chunk: int | None = setting(None, POSITIVE)


@dataclass
class OptimConfig:
    """AdamW with linear warm-up and cosine decay."""

    lr: float = setting(1e-3, POSITIVE)
    weight_decay: float = setting(0.05, NOT_NEGATIVE)
    warmup_share: float = setting(0.1, number(lambda x: 0 <= x < 1, "in [0, 1)"))
    patience: int | None = setting(None, POSITIVE)


@dataclass
class TrainerConfig:
    """Arguments of `lightning.Trainer`, by their own names."""

    max_epochs: int = setting(30, POSITIVE)
    accelerator: str = "auto"
    devices: Any = 1
    num_nodes: int = setting(1, POSITIVE)
    strategy: str = "auto"
    precision: str = setting("32-true", one_of("32-true", "bf16-mixed", "16-mixed"))
    accumulate_grad_batches: int = setting(1, POSITIVE)
    gradient_clip_val: float | None = 1.0
    sync_batchnorm: bool = False
    log_every_n_steps: int = 10
    limit_train_batches: Any = setting(1.0, POSITIVE)
    detect_anomaly: bool = False
    profiler: str | None = None
    enable_progress_bar: bool = True


@dataclass
class LogConfig:
    """What a training tells beside its CSV and TensorBoard's; nothing depends on it."""

    also: list[str] = setting([], listed(one_of("wandb", "mlflow")))
    examples: int = setting(2, NOT_NEGATIVE)


@dataclass
class ArmAbout:
    """What an arm is, in words; nothing depends on it."""

    method: str = ""
    question: str = ""
    cost: str = ""


@dataclass
class Config:
    """Everything that a run depends on.

    Examples:
        >>> Config(data=DataConfig(frames=8), seed=1).data.frames
        8
    """

    arm: str = setting("custom", _NAME)
    about: ArmAbout = setting(ArmAbout)
    seed: int = setting(0, NOT_NEGATIVE)
    runs_dir: str = "runs"
    run_dir: str | None = None
    resume: bool = False
    data: DataConfig = setting(DataConfig)
    split: SplitConfig = setting(SplitConfig)
    model: ModelConfig = setting(ModelConfig)
    features: FeaturesConfig = setting(FeaturesConfig)
    loss: LossConfig = setting(LossConfig)
    optim: OptimConfig = setting(OptimConfig)
    trainer: TrainerConfig = setting(TrainerConfig)
    tune: TuneConfig = setting(TuneConfig)
    log: LogConfig = setting(LogConfig)


@dataclass
class NoiseConfig:
    """Strengths by kind, see `vaclip.maps.NOISE`."""

    displacement: list[float] = setting([0.05, 0.1, 0.2], listed(NOT_NEGATIVE))
    blur: list[float] = setting([0.05, 0.1, 0.2], listed(NOT_NEGATIVE))
    gain: list[float] = setting([0.25, 0.5, 2.0], listed(NOT_NEGATIVE))
    dropout: list[float] = setting(
        [0.25, 0.5, 1.0], listed(number(lambda x: 0 <= x <= 1, "in [0, 1]"))
    )


@dataclass
class RolesConfig:
    """Which arm is what in the comparisons; arms that a study leaves out are no matter."""

    baseline: str = "B0"
    method: str = "B3"
    shuffled: str | None = "K_shuffled"
    map_only: str | None = "K_map_only"
    withheld: str | None = "K_withheld"
    swapped: str | None = "K_swapped"
    permuted: str | None = "K_permuted"
    bedside: str | None = "B1"
    taught: str | None = "P2"
    untaught: str | None = "P1"
    taught_shuffled: str | None = "P_shuffled"
    prior: str | None = "P_prior"
    controls: list[str] = setting(
        ["K_shuffled", "K_shuffled_within_class", "K_uniform", "K_centre", "K_random",
         "K_map_only", "K_withheld", "K_swapped"],
        listed(),
    )  # fmt: skip
    pairs: list[list[str]] = setting(
        [["B3", "B1"], ["B3", "B2"], ["B4", "B3"], ["B3", "C1"], ["B3", "C2"],
         ["B3", "C3_linear"], ["B3", "C3_sigmoid"], ["P3", "P2"]],
        Allowed(
            lambda pairs: all(len(pair) == len(set(pair)) == 2 for pair in pairs),
            "a list of [ARM, OTHER ARM]",
        ),
    )  # fmt: skip

    def named(self) -> Iterator[tuple[str, str]]:
        """Yields (setting, arm) of every arm that has a role."""
        for role in (one.name for one in dataclasses.fields(self)):
            if role not in ("controls", "pairs") and (arm := getattr(self, role)) is not None:
                yield role, arm
        yield from (("controls", arm) for arm in self.controls)
        yield from (("pairs", arm) for pair in self.pairs for arm in pair)


@dataclass
class StudyConfig:
    """What a study runs, see `vaclip.ablation.plan`."""

    arms: list[str] = setting(
        ["B0", "B1", "B2", "B3", "B4", "C1", "C2", "C3_linear", "C3_sigmoid", "K_shuffled",
         "K_shuffled_within_class", "K_uniform", "K_centre", "K_random", "K_map_only",
         "K_withheld", "K_swapped", "K_permuted", "P0", "P1", "P2", "P3", "P_shuffled",
         "P_prior"],
        listed(least=1),
    )  # fmt: skip
    roles: RolesConfig = setting(RolesConfig)
    margin: float = setting(0.05, number(lambda x: 0 < x < 1, "above 0 and below 1"))
    seeds: list[int] = setting([0], listed(NOT_NEGATIVE, least=1))
    folds: list[int] | None = setting(None, listed(NOT_NEGATIVE, least=1))
    train_fraction: list[float] = setting([0.25, 0.5, 1.0], listed(SHARE))
    train_fraction_arms: list[str] = setting(["B0", "B3", "P2"], listed())
    annotator_arms: list[str] = setting(["B3"], listed())
    noise: NoiseConfig = setting(NoiseConfig)
    noise_arms: list[str] = setting(["B3", "C3_sigmoid", "P2"], listed())
    look_clips: int = setting(32, NOT_NEGATIVE)
    jobs: int | None = setting(None, number(lambda x: x >= 1, "1 or more, or null"))
    dry_run: bool = False


@dataclass
class StudyRunConfig(Config):
    """The settings of a study: those that its runs share, and what it runs."""

    study: StudyConfig = setting(StudyConfig)


# What Hydra composes by: the types alone, so that each value has to stand in the files.
for _name, _schema in (("schema", Config), ("study_schema", StudyRunConfig)):
    _missing = dict.fromkeys((one.name for one in dataclasses.fields(_schema)), MISSING)
    ConfigStore.instance().store(name=_name, node=_schema(**_missing))

ABOUT = frozenset(f"about.{one.name}" for one in dataclasses.fields(ArmAbout))
"""Settings that are words alone."""


def uses_maps(config: Config) -> bool:
    """Whether anything in a configuration looks at the maps."""
    model = config.model
    shown = model.map_source != "predicted" or model.map_dropout < 1
    return (
        (model.map_guided and shown)
        or model.map_head == "ridge"
        or max(model.lambda_map, model.lambda_distill, model.lambda_token) > 0
        or config.loss.clip_weight > 0
        or model.clip_classifier_source != "video"
    )


def all_keys(schema: type[Config] = Config) -> list[str]:
    """Returns the dotted name of every setting of a run or, by `StudyRunConfig`, of a study."""
    return [key for key, _, _ in all_settings(schema())]


def keys_like(word: str, schema: type[Config] = Config) -> list[str]:
    """Returns the settings whose own name is a word, or ends with it.

    Examples:
        >>> keys_like("epochs")
        ['trainer.max_epochs']
    """
    names = {key: key.rpartition(".")[2] for key in all_keys(schema)}
    exact = [key for key, name in names.items() if name == word]
    return exact or [key for key, name in names.items() if name.endswith(f"_{word}")]


def unknown_key(key: str, schema: type[Config] = Config) -> VaclipError:
    """Returns the error for a setting that there is not."""
    near = keys_like(key, schema)
    hint = f" Did you mean '{near[0]}'?" if near else did_you_mean(key, all_keys(schema))
    return VaclipError(f"unknown setting '{key}'.{hint} `vaclip config` lists all.")


def typed_config(composed: DictConfig) -> Config:
    """Turns what Hydra composed into a checked `Config`, or a `StudyRunConfig` for a study.

    Raises:
        VaclipError: If a key is unknown, a value is missing, or fields contradict each other.
    """
    schema = StudyRunConfig if "study" in composed else Config
    known = set(all_keys(schema))
    # Hydra's ``+key=value`` may have added some behind the schema's back, and ``~key`` taken some.
    present = set(flat_settings(cast(dict[str, Any], OmegaConf.to_container(composed))))
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


def check_config(config: Config) -> None:
    """Checks what each field allows, and what concerns several fields.

    Raises:
        VaclipError: Naming the key, the value and what is allowed.
    """
    for key, value, allowed in all_settings(config):
        if allowed and value is not None and not allowed.holds(value):
            raise VaclipError(f"{key} is {value}; it must be {allowed.what}")
    data, model, split = config.data, config.model, config.split
    whole = isinstance(split.fold, int) and not isinstance(split.fold, bool)
    if split.fold != "all" and not (whole and 0 <= split.fold < split.folds):
        raise VaclipError(f"split.fold is {split.fold}; it must be 0 to {split.folds - 1}, or all")
    if (data.source == "folder") != bool(data.root):
        raise VaclipError(
            "data=folder needs data.root=PATH, the study folder"
            if data.source == "folder"
            else f"data.root={data.root} is not used by the default cohort; add data=folder"
        )
    check_features(config.features, model.clip_backbone, data.frames, data.augment)
    if config.trainer.sync_batchnorm and config.loss.grad_cache_chunk is not None:
        raise VaclipError(
            "trainer.sync_batchnorm=true does not go with loss.grad_cache_chunk: processes may "
            "have different numbers of chunks, and would wait for each other for ever"
        )
    check_predicted_maps(config)
    check_shards(config)
    check_tune(config.tune)
    if data.combine != "stack" and model.attn_in_channels != 1:
        raise VaclipError(
            f"model.attn_in_channels is {model.attn_in_channels}, but data.combine="
            f"{data.combine} gives maps of one channel; data.combine=stack gives one an "
            "annotator"
        )
