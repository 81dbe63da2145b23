"""Every switch of the model's original description: a key of exactly that name, those values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from composed import make_config
from vaclip import keys
from vaclip.errors import VaclipError
from vaclip.losses.pairs import PairFacts
from vaclip.models.guidance import token_weights
from vaclip.runs.run import build_loss, build_model
from vaclip.study.study import Study

CLASSES = ("ill", "well", "other")
B, T, SIDE = 4, 8, 16
SWITCHES = {
    "model.clip_feature_dim": (512, 24),
    "model.clip_embed_dim": (256, 12),
    "model.model_class_num": (3, "null"),
    "model.attn_in_channels": (1, 2),
    "model.clip_backbone": ("3dcnn", "2dcnn", "cnn_lstm"),
    "model.map_guided": ("true", "false"),
    "model.map_guided_type": ("channel", "spatiotemporal", "weighted_pool"),
    "model.map_guided_hidden_dim": (128, 8),
    "model.map_guided_sigmoid_gate": ("true", "false"),
    "model.clip_classifier_source": ("video", "attn", "fusion"),
    "model.lambda_token": (0.0, 0.1),
    "loss.clip_weight": (0.0, 1.0),
}
NEEDED_TOO = {"model.attn_in_channels=2": ["data.combine=stack"]}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path, "empty", CLASSES, {}, (), (), {}, ())


@pytest.mark.parametrize(
    "switch", [f"{key}={value}" for key, values in SWITCHES.items() for value in values]
)
def test_every_value_makes_a_model_that_learns(study, tmp_path, switch):
    config = make_config(tmp_path, switch, *NEEDED_TOO.get(switch, []))
    torch.manual_seed(0)
    model = build_model(config, study)
    channels = config.model.attn_in_channels
    video, attn_map = torch.randn(B, 3, T, SIDE, SIDE), torch.rand(B, channels, T, SIDE, SIDE)
    outputs = model(video, attn_map)
    assert outputs[keys.LOGITS].shape == (B, len(CLASSES))
    assert outputs[keys.VIDEO_FEAT].shape == (B, config.model.clip_feature_dim)
    assert outputs[keys.ATTN_EMBED].shape == (B, config.model.clip_embed_dim)

    valid, rows = torch.ones(B, dtype=torch.bool), torch.arange(B)
    weights = None
    if keys.VIDEO_TOKENS in outputs:
        weights = token_weights(attn_map, valid, outputs[keys.VIDEO_TOKENS].shape[2:])
    terms = build_loss(config)(outputs, rows % 3, PairFacts(valid, rows, rows), weights)
    assert (keys.LOSS_CLIP in terms) == (config.loss.clip_weight > 0)
    assert (keys.LOSS_TOKEN in terms) == (config.model.lambda_token > 0)
    terms[keys.LOSS_TOTAL].backward()
    assert model.classifier.weight.grad.any()


def test_the_average_of_both_features_is_called_fusion(study, tmp_path):
    config = make_config(tmp_path, "model.clip_classifier_source=both")
    with pytest.raises(VaclipError, match="is 'both'; use one of video, attn, fusion"):
        build_model(config, study)
