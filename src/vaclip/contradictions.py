"""Settings that would do nothing together."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vaclip.errors import VaclipError

if TYPE_CHECKING:
    from vaclip.config import Config, ModelConfig


def check_predicted_maps(config: Config) -> None:
    """Checks the settings of predicted maps, and of a teacher that is shown the given ones.

    Raises:
        VaclipError: Naming the settings, and what to do.
    """
    model = config.model
    if model.map_source == "given":
        usual = {field.name: field.default for field in dataclasses.fields(model)}
        for key in ("lambda_map", "map_head", "map_temperature", "map_dropout", "map_crossfit"):
            if getattr(model, key) != usual[key]:
                raise VaclipError(
                    f"model.{key}={getattr(model, key)} does nothing with model.map_source=given; "
                    "add model.map_source=predicted, or mixed"
                )
    elif not model.map_guided and (model.map_source == "mixed" or model.lambda_map == 0):
        raise VaclipError(
            f"model.map_source={model.map_source} predicts maps, and with model.map_guided=false "
            "nothing is done with them; use model.map_guided=true, or model.map_source=predicted "
            "with model.lambda_map above 0 to predict them as an exercise alone"
        )
    if model.map_source == "mixed" and model.map_dropout == 1:
        raise VaclipError(
            "model.map_source=mixed shows the model no given map in training with "
            "model.map_dropout=1; use less, such as 0"
        )
    _check_distillation(model)
    if model.map_head == "ridge":
        _check_ridge(config)
    if model.map_crossfit:
        _check_crossfit(model, config.loss.clip_weight)
    if model.map_guided_global and not model.map_guided:
        raise VaclipError("model.map_guided_global=true does nothing with model.map_guided=false")


def check_shards(config: Config) -> None:
    """Checks what goes with shards alone, and what does not go with them.

    Raises:
        VaclipError: Naming the settings, and what to do.
    """
    data, features = config.data, config.features
    if data.shards is None:
        for name, value, usual in (
            ("data.shard_window", data.shard_window, type(data)().shard_window),
            ("features.shard_mb", features.shard_mb, type(features)().shard_mb),
        ):
            if value != usual:
                raise VaclipError(f"{name}={value} does nothing without data.shards")
    elif features.source is None:
        raise VaclipError(
            "data.shards holds the tokens of a frozen encoder: add the one that they were written "
            "with, such as backbone=lite0"
        )
    elif features.finetune:
        raise VaclipError(
            "features.finetune=1 reads pixels, and data.shards holds tokens; use "
            "features.finetune=0"
        )
    elif hasattr(config, "study"):
        raise VaclipError(
            "a study reads videos and annotations, which data.shards does not hold; use "
            "data=folder data.root=FOLDER, or train each arm: vaclip train experiment=B3 "
            "data.shards=..."
        )


def _check_distillation(model: ModelConfig) -> None:
    """Raises a VaclipError where there is no teacher, or the student needs none."""
    if model.lambda_distill == 0:
        usual = {field.name: field.default for field in dataclasses.fields(model)}
        for key in ("distill_temperature", "distill_crossfit"):
            if getattr(model, key) != usual[key]:
                raise VaclipError(
                    f"model.{key}={getattr(model, key)} does nothing with model.lambda_distill=0"
                )
    elif (model.map_guided and model.map_source == "given") or (
        model.clip_classifier_source != "video"
    ):
        raise VaclipError(
            f"model.lambda_distill={model.lambda_distill} is for a student who is not shown the "
            "map that its teacher sees, and this one is; use model.map_source=predicted, or model."
            "map_guided=false, with model.clip_classifier_source=video"
        )


def _check_crossfit(model: ModelConfig, clip_weight: float) -> None:
    """Raises a VaclipError where no clinician teaches the map that guides, or it has other uses."""
    wanted = {
        "model.map_source=predicted": model.map_source == "predicted",
        "model.map_guided=true": model.map_guided,
        "model.lambda_map above 0": model.lambda_map > 0 or model.map_head == "ridge",
        "model.map_dropout=1": model.map_dropout == 1,
        "model.clip_classifier_source=video": model.clip_classifier_source == "video",
        "loss.clip_weight=0": clip_weight == 0,
    }
    if missing := [what for what, there in wanted.items() if not there]:
        raise VaclipError(
            f"model.map_crossfit={model.map_crossfit} is for models that are guided by a map which "
            f"clinicians taught them, as P2; it needs {', '.join(missing)}"
        )


def _check_ridge(config: Config) -> None:
    """Raises a VaclipError where there are no frozen tokens, or the closed form is not all."""
    model = config.model
    wanted = {
        "model.clip_backbone=features (such as backbone=lite0)": model.clip_backbone == "features",
        "features.finetune=0": config.features.finetune == 0,
        "model.map_source=predicted": model.map_source == "predicted",
        "model.map_crossfit of 3 or more (such as 5)": model.map_crossfit > 2,
        "model.lambda_map=0": model.lambda_map == 0,
        "model.map_temperature=1": model.map_temperature == 1,
    }
    if missing := [what for what, there in wanted.items() if not there]:
        raise VaclipError(
            "model.map_head=ridge is a regression on frozen tokens in closed form; it needs "
            f"{', '.join(missing)}"
        )
