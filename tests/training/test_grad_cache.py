"""The model a few segments at a time: the same gradients, less memory."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vaclip import keys
from vaclip.losses import ClipLoss, CompositeLoss
from vaclip.models import VideoAttentionCLIP
from vaclip.models.guidance import token_weights
from vaclip.models.heads import AttentionEncoder
from vaclip.training.grad_cache import forward_in_chunks, frozen_statistics
from vaclip.training.module import Optimisation, VaclipModule

B = 7


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """More wait for each other longer than such a tiny model computes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_batch(rows=B):
    """As `prepare_batch` gives it."""
    generator = torch.Generator().manual_seed(0)
    numbers = torch.arange(rows)
    shape = (8, 32, 32)
    return {
        keys.VIDEO: torch.randn(rows, 3, *shape, generator=generator, dtype=torch.float64),
        keys.ATTN_MAP: torch.rand(rows, 1, *shape, generator=generator, dtype=torch.float64),
        keys.ATTN_VALID: numbers != 4,
        keys.LABEL: numbers % 3,
        keys.PATIENT: numbers // 2,
        keys.MAP_ID: numbers % 4,
    }


def make_model(**arguments):
    torch.manual_seed(0)
    model = VideoAttentionCLIP(
        3, clip_feature_dim=8, clip_embed_dim=4, map_guided=True, backbone_width=2, **arguments
    )
    model.attn_encoder = AttentionEncoder(1, 8, width=2)
    return model.double()


def compute_loss(outputs, batch, loss):
    facts = loss.clip.pair_facts(
        *(batch[key] for key in (keys.ATTN_VALID, keys.MAP_ID, keys.PATIENT, keys.ATTN_MAP))
    )
    on_tokens = None
    if loss.lambda_token or loss.lambda_map:
        grid = outputs[keys.PREDICTED_MAP if loss.lambda_map else keys.VIDEO_TOKENS].shape[2:]
        on_tokens = token_weights(batch[keys.ATTN_MAP], batch[keys.ATTN_VALID], grid)
    return loss(outputs, batch[keys.LABEL], facts, on_tokens)[keys.LOSS_TOTAL]


def one_pass(model, batch, *, embed=True, map_given=None, **_):
    inputs = (batch[keys.VIDEO], batch[keys.ATTN_MAP], batch[keys.ATTN_VALID])
    return model(*inputs, map_given=map_given, embed=embed)


def chunk_by_chunk(model, batch, *, chunk, embed=True, **_):
    """The plain way: every chunk's activations are kept."""
    parts = [
        one_pass(model, {name: rows[start : start + chunk] for name, rows in batch.items()})
        for start in range(0, len(batch[keys.VIDEO]), chunk)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def cached(model, batch, *, chunk, embed=True, keep_tokens=True, **more):
    return forward_in_chunks(model, batch, chunk, embed=embed, keep_tokens=keep_tokens, **more)


def train(way, model, batch, loss=None, **arguments):
    """One forward and backward pass; the loss and all gradients by name."""
    loss = CompositeLoss(1.0, 0.5, ClipLoss(temperature=0.5)).double() if loss is None else loss
    value = compute_loss(way(model, batch, **arguments), batch, loss)
    value.backward()
    named = [*model.named_parameters(), *loss.named_parameters()]
    grads = {name: p.grad for name, p in named if p.requires_grad}
    return {"loss": value.detach(), **grads}


def assert_same(ours, expected):
    assert set(ours) == set(expected)
    for name, value in expected.items():
        assert value.norm() > 0, name
        assert (ours[name] - value).norm() <= 1e-10 * value.norm(), name


@pytest.mark.parametrize("chunk", [1, 3, 6, 7, 8])
@pytest.mark.parametrize("form", ["softmax", "sigmoid"])
def test_with_fixed_normalisation_all_gradients_are_those_of_one_pass(chunk, form):
    batch = make_batch()

    def loss():
        clip = ClipLoss("same_map", form, temperature=0.5, bias=-1.0, chunk=2)
        return CompositeLoss(1.0, 0.5, clip).double()

    expected = train(one_pass, make_model().eval(), batch, loss())
    assert_same(train(cached, make_model().eval(), batch, loss(), chunk=chunk), expected)


@pytest.mark.parametrize("source", ["video", "fusion"])
@pytest.mark.parametrize("keep_tokens", [True, False])
def test_without_the_clip_term(source, keep_tokens):
    """Without embeddings; the map encoder runs where the diagnosis reads it."""
    results = []
    for way in (one_pass, cached):
        model = make_model(clip_classifier_source=source).eval()
        model.freeze_unused(align=False, token_loss=keep_tokens)
        loss = CompositeLoss(0.0, 0.5 * keep_tokens)
        arguments = {"chunk": 3, "embed": False, "keep_tokens": keep_tokens}
        results.append(train(way, model, make_batch(), loss, **arguments))
    assert_same(results[1], results[0])


@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_with_predicted_maps(chunk):
    """The map term, and the choice of whose map guides a segment, chunk by chunk."""
    shown = torch.arange(B) % 2 == 0
    results = []
    for way in (one_pass, cached):
        model = make_model(map_source="mixed").eval()
        loss = CompositeLoss(1.0, 0.0, ClipLoss(temperature=0.5), lambda_map=0.5).double()
        arguments = {"chunk": chunk, "keep_tokens": False, "keep_map": True, "map_given": shown}
        results.append(train(way, model, make_batch(), loss, **arguments))
    assert_same(results[1], results[0])


def test_it_gives_only_what_a_loss_reads():
    outputs = {keys.LOGITS, keys.VIDEO_EMBED, keys.ATTN_EMBED, keys.VIDEO_TOKENS}
    model, batch = make_model(), make_batch()
    assert set(cached(model, batch, chunk=3)) == outputs
    assert set(cached(model, batch, chunk=3, keep_tokens=False)) == outputs - {keys.VIDEO_TOKENS}
    assert set(cached(model, batch, chunk=3, embed=False, keep_tokens=False)) == {keys.LOGITS}


# --- Batch normalisation in training -------------------------------------------------------------


def statistics(model):
    return {name: value for name, value in model.named_buffers() if "running" in name}


@pytest.mark.parametrize("chunk", [2, 3])
def test_in_training_each_chunk_is_normalised_by_itself(chunk):
    batch, model = make_batch(), make_model()
    plain = copy.deepcopy(model)
    ours = train(cached, model, batch, chunk=chunk)
    assert_same(ours, train(chunk_by_chunk, plain, batch, chunk=chunk))
    whole = train(one_pass, make_model(), batch)
    assert (ours["loss"] - whole["loss"]).abs() > 1e-3, "the chunk makes a difference"


def test_running_statistics_count_each_chunk_once():
    batch, model = make_batch(), make_model()
    before = copy.deepcopy(statistics(model))
    plain = copy.deepcopy(model)
    chunk_by_chunk(plain, batch, chunk=3)
    train(cached, model, batch, chunk=3)
    for name, expected in statistics(plain).items():
        torch.testing.assert_close(statistics(model)[name], expected)
        assert not torch.allclose(before[name], expected), name


def test_the_statistics_stand_before_the_backward_pass():
    """A validation pass in between would see them."""
    batch, model = make_batch(), make_model()
    outputs = cached(model, batch, chunk=3)
    before = copy.deepcopy(statistics(model))
    compute_loss(outputs, batch, CompositeLoss(1.0, 0.5)).backward()
    for name, expected in before.items():
        torch.testing.assert_close(statistics(model)[name], expected, rtol=0, atol=0)


def momenta(model):
    return [layer.momentum for layer in model.modules() if isinstance(layer, nn.BatchNorm3d)]


def test_momentum_is_as_before_after_the_backward_pass():
    model = make_model()
    before = momenta(model)
    train(cached, model, make_batch(), chunk=3)
    assert momenta(model) == before


def test_momentum_is_none_within_and_as_before_after_an_exception():
    model = make_model()
    before = momenta(model)

    def fail():
        with frozen_statistics(model):
            assert momenta(model) == [0.0] * len(before)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert momenta(model) == before
    assert all(before)


def test_random_layers_draw_the_same_in_both_passes():
    batch, model = make_batch(), make_model()
    model.video_feature.append(nn.Dropout(0.5))
    plain = copy.deepcopy(model)
    torch.manual_seed(3)
    ours = train(cached, model, batch, chunk=3)
    torch.manual_seed(3)
    assert_same(ours, train(chunk_by_chunk, plain, batch, chunk=3))


# --- Memory --------------------------------------------------------------------------------------


def test_memory_grows_with_the_chunk_not_with_the_batch(live_bytes):
    peak = {}
    for rows in (6, 12):
        batch = make_batch(rows)
        for chunk in (2, rows):
            model = make_model()
            way = one_pass if chunk == rows else cached
            with live_bytes() as memory:
                train(way, model, batch, CompositeLoss().double(), chunk=chunk, keep_tokens=False)
            peak[rows, chunk] = memory.peak
    assert peak[12, 12] > 1.8 * peak[6, 6]
    assert peak[12, 2] < 1.2 * peak[6, 2]
    assert peak[12, 2] < peak[12, 12] / 4


# --- Within the module ---------------------------------------------------------------------------


def step(chunk, monkeypatch, training):
    monkeypatch.setattr(VaclipModule, "global_rank", 0)
    monkeypatch.setattr(VaclipModule, "current_epoch", 0)
    monkeypatch.setattr(VaclipModule, "log_dict", lambda *args, **kwargs: None)
    loss = CompositeLoss(1.0, 0.5, ClipLoss(temperature=0.5))
    model = make_model().float()
    module = VaclipModule(model, loss, Optimisation(), grad_cache_chunk=chunk).train(training)
    batch = make_batch()
    batch[keys.CLIP_ROW] = torch.arange(B)
    for name, gain in ((keys.VIDEO, 40), (keys.ATTN_MAP, 255)):
        batch[name] = (gain * batch[name] + (128 if name == keys.VIDEO else 0)).clamp(0, 255).byte()
    value = module.training_step(batch, 0)
    value.backward()
    grads = [p.grad.flatten() for p in module.parameters() if p.requires_grad]
    return value.item(), torch.cat(grads)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_a_training_step_in_chunks_is_the_whole_one(chunk, monkeypatch):
    expected, grads = step(None, monkeypatch, training=False)
    ours, our_grads = step(chunk, monkeypatch, training=False)
    assert ours == pytest.approx(expected, rel=1e-5)
    assert (our_grads - grads).norm() <= 1e-5 * grads.norm()


def test_a_training_step_really_is_in_chunks(monkeypatch):
    """Seen by what batch normalisation sees; no smaller chunk than the batch changes nothing."""
    whole, part, same = (step(chunk, monkeypatch, training=True)[0] for chunk in (None, 3, 7))
    assert part != pytest.approx(whole, rel=1e-4)
    assert same == whole
