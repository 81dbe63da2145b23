"""metadata.json, by the names of MONAI bundles, as far as they fit a model without MONAI."""

from __future__ import annotations

import math
from importlib.metadata import version
from typing import Any, Final

from vaclip.evaluation.evaluate import Evaluation
from vaclip.export.card import TODO
from vaclip.export.trained import TrainedFold

_RUNS_ON: Final = ("onnxruntime", "av", "numpy")


def bundle_metadata(
    trained: TrainedFold, settings: dict[str, Any], results: Evaluation
) -> dict[str, Any]:
    """Returns the content of metadata.json; ``monai_version`` is absent, for nothing needs MONAI.

    Args:
        trained: The model.
        settings: Of model.json.
        results: Of its study, or run.
    """
    scores = results.scores["patient"][trained.arm].scores
    classes = dict(enumerate(settings["classes"]))
    length, encoder = settings["frames"] // settings["step"], settings["encoder"]
    if encoder and encoder["file"]:
        sides = [length, *encoder["grid"]]
        inputs = {"video_tokens": _array("feature map", encoder["channels"], sides)}
    else:
        colours = ["red", "green", "blue"]
        inputs = {"video": _array("video", 3, [length, *settings["size"]], colours)}
    if (shape := settings["map"]) is not None:
        sides = [settings["frames"], *shape["size"]]
        inputs["attn_map"] = _array("attention map", shape["channels"], sides, values=(0, 1))
    outputs = {"logits": _array("logits", len(classes), [], list(classes.values()))}
    if settings["predicted_map"]:
        outputs["predicted_map"] = _array("attention map", 1, ["*", "*", "*"], values=(0, 1))
    return {
        "version": settings["vaclip"],
        "changelog": {settings["vaclip"]: "exported by vaclip"},
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in _RUNS_ON},
        "name": f"{settings['study']} {settings['arm']}",
        "task": "video classification",
        "description": f"fold {settings['fold']}, seed {settings['seed']}; see MODEL_CARD.md",
        "authors": TODO,
        "copyright": TODO,
        "intended_use": TODO,
        "data_source": settings["study"],
        "data_type": "video",
        "label_classes": {"class": classes},
        "pred_classes": {"class": classes},
        "eval_metrics": {
            name: score.mean for name, score in scores.items() if math.isfinite(score.mean)
        },
        "network_data_format": {"inputs": inputs, "outputs": outputs},
    }


def _array(
    kind: str,
    channels: int,
    sides: list[Any],
    names: list[str] | None = None,
    values: tuple[float, float] | None = None,
) -> dict[str, Any]:
    return {
        "type": kind,
        "format": "segments",
        "num_channels": channels,
        "spatial_shape": sides,
        "dtype": "float32",
        "value_range": list(values) if values else [],
        "is_patch_data": False,
        "channel_def": dict(enumerate(names)) if names else {},
    }
