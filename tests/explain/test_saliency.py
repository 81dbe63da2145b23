"""What a model looked at: closed forms, naive loops, captum, on pixels and on frozen tokens."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from explain.looking import GRID, B, H, K, T, W, build, segments
from vaclip import keys
from vaclip.explain.saliency import (
    MAPS,
    attributions,
    class_logits,
    covered,
    gradcam,
    integrated_gradients,
    look,
    occlusion,
    tubes,
    why_no_place,
)
from vaclip.models.encoders import Encoded

LABEL = torch.tensor([0, 2, 1])
BOTH = pytest.mark.parametrize("backbone", ["3dcnn", "features"])
KINDS = pytest.mark.parametrize(
    "kind",
    [
        {},
        {"map_guided": True},
        {"map_guided": True, "map_guided_type": "weighted_pool", "map_source": "predicted"},
        {"map_guided": True, "map_source": "predicted", "map_guided_global": True},
        {"map_guided": True, "map_guided_type": "channel", "clip_classifier_source": "fusion"},
    ],
    ids=str,
)


def tokens_of(model, shown):
    with torch.no_grad():
        return model.video_encoder(shown[0]).tokens


def linear_model(backbone):
    """Whose logits are linear in the mean of the tokens."""
    model = build(backbone, clip_feature_dim=4 if backbone == "features" else 16)
    with torch.no_grad():
        model.video_feature[0].weight.copy_(torch.eye(len(model.video_feature[0].weight)))
        model.video_feature[0].bias.fill_(1e3)  # the ReLU behind it cuts nothing off
    return model


@BOTH
def test_of_a_linear_model_both_gradients_are_known(backbone):
    model, shown = linear_model(backbone), segments(backbone)
    tokens = tokens_of(model, shown)
    weight = model.classifier.weight[LABEL][..., None, None, None] / (2 * 3 * 4)
    with torch.no_grad():
        expected = (weight * tokens).sum(dim=1, keepdim=True).relu()
        mean = tokens.mean(dim=(2, 3, 4), keepdim=True)
        from_mean = (weight * (tokens - mean)).sum(dim=1, keepdim=True).relu()
    torch.testing.assert_close(gradcam(model, shown, LABEL), expected)
    torch.testing.assert_close(integrated_gradients(model, shown, LABEL), from_mean)
    assert expected.any()
    assert from_mean.any()


@BOTH
@KINDS
def test_integrated_gradients_sum_to_what_the_logit_gains(backbone, kind):
    model, shown = build(backbone, **kind), segments(backbone)
    tokens = tokens_of(model, shown)
    mean = tokens.mean(dim=(2, 3, 4), keepdim=True).expand_as(tokens)
    rows = torch.arange(B)
    with torch.no_grad():
        ends = [
            model.read(Encoded(at.mean(dim=(2, 3, 4)), at), *shown[1:], video=shown[0])[
                keys.LOGITS
            ][rows, LABEL]
            for at in (tokens, mean)
        ]
    found = attributions(model, shown, LABEL, 80).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(found, ends[0] - ends[1], atol=1e-3, rtol=2e-3)


class FromTokens(nn.Module):
    """A model as captum wants it: segments in, logits out, with the tokens as a layer's output."""

    def __init__(self, model, shown):
        super().__init__()
        self.model, self.more, self.layer = model, shown[1:], nn.Identity()

    def forward(self, tokens):
        tokens = self.layer(tokens)
        more = [part.repeat(len(tokens) // B, *[1] * (part.dim() - 1)) for part in self.more]
        encoded = Encoded(tokens.mean(dim=(2, 3, 4)), tokens)
        return self.model.read(encoded, *more, video=tokens)[keys.LOGITS]


@BOTH
@KINDS
def test_both_gradients_are_captums(backbone, kind):
    attr = pytest.importorskip("captum.attr")
    model, shown = build(backbone, **kind), segments(backbone)
    tokens = tokens_of(model, shown)
    head = FromTokens(model, shown)
    cam = attr.LayerGradCam(head, head.layer).attribute(tokens, target=LABEL)
    torch.testing.assert_close(gradcam(model, shown, LABEL), cam.relu().detach())
    mean = tokens.mean(dim=(2, 3, 4), keepdim=True).expand_as(tokens)
    gradients = attr.IntegratedGradients(head).attribute(
        tokens, mean, target=LABEL, n_steps=16, method="riemann_middle"
    )
    torch.testing.assert_close(attributions(model, shown, LABEL, 16), gradients.float())


# --- occlusion -----------------------------------------------------------------------------------


def test_tubes_are_parts_of_about_the_same_size():
    assert tubes((2, 3, 4)).flatten().tolist() == list(range(24))
    halves = tubes((4, 1, 5), most=(2, 6, 2))
    assert halves[:, 0].tolist() == [[0, 0, 0, 1, 1]] * 2 + [[2, 2, 2, 3, 3]] * 2
    assert tubes((12, 12, 12)).unique().tolist() == list(range(2 * 6 * 6))


@BOTH
@KINDS
def test_occlusion_covers_one_tube_after_the_other(backbone, kind):
    model, shown = build(backbone, **kind), segments(backbone)
    found = occlusion(model, shown, LABEL, tubes(GRID), batch_size=7)
    cell = (1, 1, 1) if backbone == "features" else (T // 2, H // 3, W // 4)
    whole = class_logits(model, shown, LABEL)
    for at in product(*map(range, GRID)):
        seen = shown[0].clone()
        places = [slice(i * side, (i + 1) * side) for i, side in zip(at, cell, strict=True)]
        seen[:, :, *places] = shown[0].mean(dim=(2, 3, 4), keepdim=True)
        loss = (whole - class_logits(model, (seen, *shown[1:]), LABEL)).relu()
        torch.testing.assert_close(found[:, 0, *at], loss, atol=1e-5, rtol=1e-4)
    assert found.any()


def test_tokens_of_one_tube_share_what_it_costs():
    model, shown = build(), segments()
    found = occlusion(model, shown, LABEL, tubes(GRID, most=(1, 1, 2)))
    assert (found[..., :2] == found[:, :, :1, :1, :1]).all()
    assert (found[..., 2:] == found[:, :, :1, :1, 2:3]).all()


@BOTH
def test_nothing_is_covered_where_all_is_kept(backbone):
    one = [part[:1] for part in segments(backbone)]
    seen, attn_map, valid = covered(one, torch.ones(2, *GRID, dtype=torch.bool))
    assert seen.shape[0] == attn_map.shape[0] == len(valid) == 2
    assert torch.equal(seen[1:], one[0])
    none = covered(one, torch.zeros(1, *GRID, dtype=torch.bool))[0]
    assert torch.equal(none, one[0].mean(dim=(2, 3, 4), keepdim=True).expand_as(none))


# --- all of them ---------------------------------------------------------------------------------


@BOTH
@KINDS
def test_every_map_lies_on_the_token_grid_and_a_row_does_not_depend_on_the_others(backbone, kind):
    model, shown = build(backbone, **kind), segments(backbone)
    maps, probs = look(model, shown)
    assert list(maps) == [name for name in MAPS if name in maps]
    predicts = kind.get("map_source") == "predicted"
    assert ("predicted" in maps) == predicts
    assert ("gate" in maps) == (predicts and "map_guided_type" not in kind)
    assert probs.shape == (B, K)
    torch.testing.assert_close(probs.sum(dim=1), torch.ones(B))
    alone, _ = look(model, (shown[0][1:2], shown[1][1:2], shown[2][1:2]))
    for name, own in maps.items():
        assert own.shape == (B, 1, *GRID), name
        assert (own >= 0).all()
        assert not own.requires_grad
        torch.testing.assert_close(alone[name], own[1:2], atol=1e-5, rtol=1e-4)
    assert all(part.grad is None for part in model.parameters())


def test_what_keeps_no_place_or_reads_no_video_says_so():
    assert why_no_place(build()) == ""
    assert "keeps no place" in why_no_place(build("2dcnn"))
    assert "not the video" in why_no_place(build(clip_classifier_source="attn"))
