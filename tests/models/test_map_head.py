"""Maps that the model predicts itself, and where they stand in the model."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from vaclip import VaclipError, keys
from vaclip.losses import CompositeLoss
from vaclip.models import VideoAttentionCLIP
from vaclip.models.guidance import GUIDANCE, token_weights
from vaclip.models.map_head import MapHead, RidgeHead, guiding_map

B, T, H, W, K = 5, 8, 24, 32, 3
GRID = (2, 3, 4)
VALID = torch.tensor([True, True, False, True, True])
GUIDED = [*((name, False) for name in GUIDANCE.builtin), ("spatiotemporal", True)]
EVERY_GUIDANCE = pytest.mark.parametrize("guided", GUIDED, ids=str)


def build(source="predicted", guided=("weighted_pool", False), **overrides):
    torch.manual_seed(0)
    arguments = {
        "clip_feature_dim": 12,
        "clip_embed_dim": 6,
        "map_guided": guided is not None,
        "map_guided_hidden_dim": 8,
        "map_source": source,
        "backbone_width": 4,
    }
    if guided is not None:
        arguments |= {"map_guided_type": guided[0], "map_guided_sigmoid_gate": guided[1]}
    return VideoAttentionCLIP(K, **(arguments | overrides))


def batch(seed=0, channels=1):
    generator = torch.Generator().manual_seed(seed)
    video = torch.randn(B, 3, T, H, W, generator=generator)
    attn_map = torch.rand(B, channels, T, H, W, generator=generator)
    return video, attn_map, VALID


# --- the head ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [6, 64])
@pytest.mark.parametrize("grid", [(1, 1, 1), (1, 7, 7), (2, 3, 4)], ids=str)
def test_a_map_is_positive_and_sums_to_1_whatever_the_encoder(channels, grid):
    head = MapHead(channels, 8)
    predicted = head(torch.randn(3, channels, *grid))
    assert predicted.shape == (3, 1, *grid)
    assert (predicted > 0).all()
    torch.testing.assert_close(predicted.sum(dim=(1, 2, 3, 4)), torch.ones(3))


def test_the_map_is_the_softmax_of_the_scores_over_time_and_place():
    head = MapHead(6, 8, temperature=0.5)
    tokens = torch.randn(2, 6, *GRID)
    scores = head.layers(tokens)
    for row in range(2):
        weights = (scores[row] / 0.5).exp()
        torch.testing.assert_close(head(tokens)[row], weights / weights.sum())


def test_a_smaller_temperature_makes_a_sharper_map():
    tokens = torch.randn(3, 6, *GRID)
    head = MapHead(6, 8)
    largest = []
    for temperature in (2.0, 1.0, 0.5):
        head.temperature = temperature
        largest.append(head(tokens).amax(dim=(1, 2, 3, 4)))
    assert (largest[0] < largest[1]).all()
    assert (largest[1] < largest[2]).all()


def test_a_row_of_the_head_does_not_depend_on_its_batch():
    head, tokens = MapHead(6, 8), torch.randn(3, 6, *GRID)
    for row in range(3):
        torch.testing.assert_close(head(tokens[row : row + 1]), head(tokens)[row : row + 1])


def test_the_head_learns_the_clinicians_map():
    """Marked tokens differ in one channel: some steps on the map term find them."""
    torch.manual_seed(0)
    tokens = torch.randn(16, 6, *GRID)
    marked = (torch.rand(16, 1, *GRID) < 0.2).float()
    marked[:, :, 0, 0, 0] = 1.0
    tokens[:, :1] += 4 * marked
    head, loss = MapHead(6, 16), CompositeLoss(0.0, lambda_map=1.0)
    optimizer = torch.optim.Adam(head.parameters(), 0.03)
    terms = []
    for _ in range(60):
        outputs = {keys.LOGITS: torch.zeros(16, K), keys.PREDICTED_MAP: head(tokens)}
        on_tokens = marked, torch.ones(16, dtype=torch.bool)
        found = loss(outputs, torch.zeros(16, dtype=torch.int64), token_map=on_tokens)
        optimizer.zero_grad()
        found[keys.LOSS_TOTAL].backward()
        optimizer.step()
        terms.append(found[keys.LOSS_MAP].item())
    assert terms[-1] < 0.3 * terms[0]


def test_a_ridge_head_is_linear_and_never_below_0():
    head = RidgeHead(3)
    head.weight[:] = torch.tensor([1.0, -1.0, 0.0])
    head.bias += 0.5
    tokens = torch.randn(4, 3, *GRID)
    scores = (tokens[:, 0] - tokens[:, 1] + 0.5).clamp_min(0)
    expected = scores / scores.sum(dim=(1, 2, 3), keepdim=True)
    torch.testing.assert_close(head(tokens)[:, 0], expected)
    head.bias -= 100  # nobody would look anywhere
    torch.testing.assert_close(head(tokens), torch.full((4, 1, *GRID), 1 / 24))


def test_a_ridge_head_reads_the_frozen_tokens_and_not_what_is_made_of_them():
    torch.manual_seed(0)
    model = VideoAttentionCLIP(
        K, clip_backbone="features", backbone_width=4, backbone_options={"channels": 6},
        map_guided=True, map_guided_type="weighted_pool", map_source="predicted", map_head="ridge",
    )  # fmt: skip
    model.map_head.weight += torch.randn(6)
    tokens = torch.randn(B, 6, *GRID)
    outputs = model(tokens, torch.zeros(B, 1, T, H, W))
    torch.testing.assert_close(outputs[keys.PREDICTED_MAP], model.map_head(tokens))
    assert not [name for name, _ in model.named_parameters() if name.startswith("map_head")]
    saved = model.state_dict()
    assert saved["map_head.weight"].shape == (6,)


# --- whose map guides ----------------------------------------------------------------------------


def test_the_guiding_map_is_the_given_one_only_where_it_says_something():
    predicted = MapHead(6, 8)(torch.randn(B, 6, *GRID))
    _, attn_map, _ = batch(channels=2)
    attn_map[1] = 0.4  # constant
    guide = guiding_map(predicted, attn_map, VALID)
    assert guide.shape == (B, 2, *GRID)
    weights = token_weights(attn_map, VALID, GRID).weights
    for row, given in enumerate([True, False, False, True, True]):
        own = predicted[row] / predicted[row].max()
        torch.testing.assert_close(guide[row, :1], weights[row] if given else own)


@EVERY_GUIDANCE
def test_a_predicted_map_guides_as_the_same_given_map(guided):
    """The head's own map, handed in as the clinician's, makes the same diagnosis."""
    model = build(guided=guided).eval()
    video, _, valid = batch()
    outputs = model(video, torch.zeros(B, 1, T, H, W))
    own = outputs[keys.PREDICTED_MAP] / outputs[keys.PREDICTED_MAP].amax((1, 2, 3, 4), keepdim=True)
    on_pixels = F.interpolate(own, (T, H, W))  # the nearest, so that a token's cell has its value
    model.map_source = "given"
    given = model(video, on_pixels, torch.ones_like(valid))
    torch.testing.assert_close(given[keys.LOGITS], outputs[keys.LOGITS])


@EVERY_GUIDANCE
def test_a_predicting_model_ignores_the_map_it_is_given(guided):
    model = build(guided=guided).eval()
    video, attn_map, valid = batch()
    expected = model(video, attn_map, valid)
    assert not model.diagnosis_needs_map
    for other, known in ((1 - attn_map, valid), (0 * attn_map, ~valid), (attn_map**4, None)):
        outputs = model(video, other, known)
        for name in (keys.LOGITS, keys.VIDEO_FEAT, keys.PREDICTED_MAP):
            assert torch.equal(outputs[name], expected[name])


def test_a_mixed_model_reads_the_given_map_where_there_is_one():
    model = build("mixed").eval()
    video, attn_map, valid = batch()
    attn_map[1] = 0.4
    mixed = model(video, attn_map, valid)[keys.LOGITS]
    model.map_source = "predicted"
    predicted = model(video, attn_map, valid)[keys.LOGITS]
    model.map_source = "given"
    given = model(video, attn_map, valid)[keys.LOGITS]
    shown = torch.tensor([True, False, False, True, True])
    torch.testing.assert_close(mixed[shown], given[shown])
    torch.testing.assert_close(mixed[~shown], predicted[~shown])
    assert (mixed[shown] != predicted[shown]).any(dim=1).all()


@pytest.mark.parametrize("source", ["predicted", "mixed"])
def test_training_chooses_whose_segments_the_given_map_guides(source):
    model = build(source).eval()
    video, attn_map, valid = batch()
    shown = torch.tensor([True, False, True, False, True])
    chosen = model(video, attn_map, valid, map_given=shown)[keys.LOGITS]
    model.map_source = "mixed"
    torch.testing.assert_close(chosen, model(video, attn_map, valid & shown)[keys.LOGITS])


@EVERY_GUIDANCE
def test_the_global_path_is_the_plain_mean_and_the_difference_to_it(guided):
    model = build(guided=guided, map_guided_global=True).eval()
    seen = {}
    linear = model.video_feature[0]
    for name, layer in (("mean", linear), ("difference", model.guided_feature)):
        layer.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]}))
    video, attn_map, valid = batch()
    outputs = model(video, attn_map, valid)
    tokens = outputs[keys.VIDEO_TOKENS]
    torch.testing.assert_close(seen["mean"], tokens.mean(dim=(2, 3, 4)))
    own = guiding_map(outputs[keys.PREDICTED_MAP], attn_map, torch.zeros_like(valid))
    pooled = model.guidance(tokens, own, torch.ones_like(valid)).pooled
    torch.testing.assert_close(seen["difference"], pooled - seen["mean"])
    both = torch.cat([seen["mean"], seen["difference"]], dim=1)
    weight = torch.cat([linear.weight, model.guided_feature.weight], dim=1)
    expected = (both @ weight.T + linear.bias).clamp_min(0)
    torch.testing.assert_close(outputs[keys.VIDEO_FEAT], expected)


def test_without_any_map_the_global_path_is_the_model_without_guidance():
    plain = build("given", None).eval()
    model = build("given", map_guided_global=True).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    video, attn_map, valid = batch()
    expected = plain(video, attn_map)[keys.LOGITS]
    torch.testing.assert_close(model(video, attn_map, ~valid & valid)[keys.LOGITS], expected)


# --- learning ------------------------------------------------------------------------------------

CASES = [
    pytest.param(*case, id="-".join(map(str, case)))
    for case in product(["predicted", "mixed"], [None, *GUIDED], ["video", "attn", "fusion"],
                        [0.0, 1.0], [0.0, 1.0])
    if case[1] is not None or (case[0] == "predicted" and case[4])
]  # fmt: skip


def backward(model, clip_weight, lambda_map, given=None):
    video, attn_map, valid = batch()
    outputs = model.train()(video, attn_map, valid, map_given=given, embed=clip_weight > 0)
    loss = CompositeLoss(clip_weight, lambda_map=lambda_map)
    numbers = torch.arange(B)
    facts = loss.clip.pair_facts(valid, numbers, numbers, attn_map)
    on_tokens = token_weights(attn_map, valid, GRID)
    loss(outputs, numbers % K, facts, on_tokens)[keys.LOSS_TOTAL].backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is None}


@pytest.mark.parametrize(("source", "guided", "classifier", "clip_weight", "lambda_map"), CASES)
def test_freeze_unused_freezes_exactly_what_gets_no_gradient(
    source, guided, classifier, clip_weight, lambda_map
):
    arguments = {"clip_classifier_source": classifier, "backbone_width": 2}
    arguments["map_guided_global"] = guided is not None
    missed = backward(build(source, guided, **arguments), clip_weight, lambda_map)
    model = build(source, guided, **arguments)
    model.freeze_unused(align=clip_weight > 0, token_loss=False, map_loss=lambda_map > 0)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == missed


@pytest.mark.parametrize("shown", [True, False])
def test_each_training_segment_reaches_the_head_unless_a_given_map_guides_it(shown):
    model = build()
    backward(model, 0.0, 0.0, given=torch.full((B,), shown))
    for name, parameter in model.map_head.named_parameters():
        assert parameter.grad is not None, name  # DDP waits for it
        assert parameter.grad.isfinite().all(), name
    video, attn_map, _ = batch()
    model.zero_grad()
    valid = torch.ones(B, dtype=torch.bool)
    given = torch.full((B,), shown)
    model(video, attn_map, valid, map_given=given)[keys.LOGITS].square().sum().backward()
    assert all(bool(p.grad.any()) == (not shown) for p in model.map_head.parameters())


@pytest.mark.parametrize("key", ["map_source", "map_guided_global"])
@pytest.mark.parametrize("backbone", ["2dcnn", "cnn_lstm"])
def test_an_encoder_without_tokens_has_nothing_to_predict_from(key, backbone):
    value = "mixed" if key == "map_source" else True
    with pytest.raises(VaclipError, match=rf"model\.{key}=.* needs tokens.*use 3dcnn or"):
        VideoAttentionCLIP(K, clip_backbone=backbone, map_guided=True, **{key: value})


def test_an_unknown_source_is_explained():
    with pytest.raises(VaclipError, match=r"map_source is 'predict'.*Did you mean 'predicted'"):
        VideoAttentionCLIP(K, map_source="predict")


def test_a_model_of_given_maps_has_no_head_and_draws_as_before():
    model = build("given")
    assert model.map_head is None
    assert keys.PREDICTED_MAP not in model(*batch())
