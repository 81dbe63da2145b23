"""The CLIP term against its docstring, pair by pair, and against what was published."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vaclip import VaclipError, keys
from vaclip.losses import ClipLoss
from vaclip.losses.contrastive import FORMS, POSITIVES
from vaclip.losses.pairs import map_place

EVERY_RULE = pytest.mark.parametrize("positives", ["paired", "same_map", "soft_map"])
EVERY_FORM = pytest.mark.parametrize("form", ["softmax", "sigmoid"])
BOTH_MASKS = pytest.mark.parametrize("mask", [True, False])


def test_every_rule_and_form_is_tested():
    assert EVERY_RULE.args[1] == list(POSITIVES)
    assert EVERY_FORM.args[1] == list(FORMS)


@dataclass
class Rows:
    """A batch as the CLIP term sees it."""

    video: torch.Tensor
    attn: torch.Tensor
    valid: torch.Tensor
    map_id: torch.Tensor
    patient: torch.Tensor
    attn_map: torch.Tensor

    def facts(self, loss):
        return loss.pair_facts(self.valid, self.map_id, self.patient, self.attn_map)

    def terms(self, loss):
        return loss(self.video, self.attn, self.facts(loss))

    def loss(self, loss):
        return self.terms(loss)[keys.LOSS_CLIP]

    def take(self, order):
        return Rows(**{name: value[order] for name, value in vars(self).items()})


def draw(map_id, patient, invalid=(), seed=0, dim=5):
    """Random unit embeddings; rows with the same map id have the very same map."""
    generator = torch.Generator().manual_seed(seed)
    n = len(map_id)
    embeds = torch.randn(2, n, dim, generator=generator, dtype=torch.float64)
    video, attn = F.normalize(embeds, dim=-1).unbind()
    maps = torch.rand(max(map_id) + 1, 2, 3, 16, 16, generator=generator, dtype=torch.float64) ** 4
    valid = torch.tensor([row not in invalid for row in range(n)])
    map_id, patient = torch.tensor(map_id), torch.tensor(patient)
    return Rows(video, attn, valid, map_id, patient, maps[map_id])


MAP_ID = [0, 1, 0, 2, 1, 0, 3, 2]
PATIENT = [0, 0, 1, 2, 3, 1, 0, 2]


def build(positives="same_map", form="softmax", **arguments):
    """In float64, with a bias at which no pair of ``sigmoid`` is saturated."""
    return ClipLoss(positives, form, **{"bias": -1.0, **arguments}).double()


def gradients(loss, rows):
    """The loss and its gradient to all that it can reach, by name."""
    video, attn = rows.video.clone().requires_grad_(), rows.attn.clone().requires_grad_()
    for parameter in loss.parameters():
        parameter.grad = None
    value = replace(rows, video=video, attn=attn).loss(loss)
    value.backward()
    grads = {"video": video.grad, "attn": attn.grad}
    grads |= {name: p.grad for name, p in loss.named_parameters() if p.requires_grad}
    return {"value": value.detach(), **grads}


def assert_same(ours, expected, **tolerance):
    assert set(ours) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(
            ours[name], value, msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )


# --- The docstring -------------------------------------------------------------------------------


def naive(rows, positives, form, mask, temperature, bias, soft_temperature):
    """The formulas of ClipLoss, one pair at a time, in plain numbers."""
    n = len(rows.video)
    # The mean over time, and over 2 x 2 pixels of 16 x 16 for the grid of 8 x 8.
    grid = rows.attn_map.numpy().mean(axis=2).reshape(n, -1, 8, 2, 8, 2).mean(axis=(3, 5))
    video, attn = rows.video.numpy(), rows.attn.numpy()

    def same(i, j):
        return i == j if positives == "paired" else bool(rows.map_id[i] == rows.map_id[j])

    def affinity(i, j):
        if positives != "soft_map":
            return float(same(i, j))
        cosine = (grid[i] * grid[j]).sum() / np.linalg.norm(grid[i]) / np.linalg.norm(grid[j])
        return math.exp((cosine - 1) / soft_temperature)

    def is_candidate(i, j):
        masked = mask and rows.patient[i] == rows.patient[j] and not same(i, j)
        return bool(rows.valid[i] and rows.valid[j] and not masked)

    total, counted, negatives = 0.0, 0, 0
    for i in range(n):
        candidates = [j for j in range(n) if is_candidate(i, j)]
        others = [j for j in candidates if not same(i, j)]
        if not others:
            continue
        counted += 1
        negatives += len(others)
        y = {j: affinity(i, j) for j in candidates}
        if form == "sigmoid":
            for j in candidates:
                p = 1 / (1 + math.exp(-(video[i] @ attn[j] / temperature + bias)))
                total -= y[j] * math.log(p) + (1 - y[j]) * math.log(1 - p)
            continue
        for query, columns in ((video[i], attn), (attn[i], video)):
            s = {j: query @ columns[j] / temperature for j in candidates}
            norm = math.log(sum(math.exp(value) for value in s.values()))
            for j in candidates:
                total -= 0.5 * y[j] / sum(y.values()) * (s[j] - norm)
    return {
        keys.LOSS_CLIP: total / max(counted, 1),
        keys.CLIP_NEGATIVES: negatives / max(counted, 1),
        keys.CLIP_SKIPPED: 1 - counted / n,
        keys.CLIP_TEMPERATURE: temperature,
        **({keys.CLIP_BIAS: bias} if form == "sigmoid" else {}),
    }


def assert_as_documented(rows, positives, form, mask, chunk, temperature=0.3):
    loss = build(
        positives,
        form,
        temperature=temperature,
        soft_temperature=0.15,
        mask_same_patient=mask,
        chunk=chunk,
    )
    ours = {name: value.item() for name, value in rows.terms(loss).items()}
    expected = naive(rows, positives, form, mask, math.exp(-loss.log_scale.item()), -1.0, 0.15)
    assert ours == pytest.approx(expected, rel=1e-10)


@EVERY_RULE
@EVERY_FORM
@BOTH_MASKS
@pytest.mark.parametrize("invalid", [(), (1, 5)])
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_against_a_naive_double_loop(positives, form, mask, invalid, chunk):
    assert_as_documented(draw(MAP_ID, PATIENT, invalid), positives, form, mask, chunk)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=1, max_size=6
    ),
    positives=st.sampled_from(POSITIVES),
    form=st.sampled_from(FORMS),
    mask=st.booleans(),
    chunk=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_any_small_batch(rows, positives, form, mask, chunk, seed):
    map_id, patient, valid = zip(*rows, strict=True)
    invalid = [row for row, is_valid in enumerate(valid) if not is_valid]
    assert_as_documented(draw(map_id, patient, invalid, seed), positives, form, mask, chunk)


# --- What was published --------------------------------------------------------------------------


def test_paired_softmax_is_clip():
    """Radford et al. 2021, figure 3."""
    rows = draw(MAP_ID, PATIENT)
    loss = build("paired", mask_same_patient=False, temperature=0.2)
    similarity = rows.video @ rows.attn.T * loss.log_scale.exp()
    own = torch.arange(len(similarity))
    expected = (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
    torch.testing.assert_close(rows.loss(loss), expected)


def test_paired_sigmoid_is_siglip():
    """Zhai et al. 2023, algorithm 1."""
    rows = draw(MAP_ID, PATIENT)
    loss = build("paired", "sigmoid", mask_same_patient=False, temperature=0.2, bias=-3.0)
    logits = rows.video @ rows.attn.T * loss.log_scale.exp() + loss.bias
    labels = 2 * torch.eye(len(logits)) - 1
    expected = -F.logsigmoid(labels * logits).sum() / len(logits)
    torch.testing.assert_close(rows.loss(loss), expected)


def test_same_map_softmax_is_the_mean_over_positives_of_the_log_likelihood():
    """Khosla et al. 2020, eq. 2, L_out."""
    rows = draw(MAP_ID, PATIENT)
    loss = build("same_map", mask_same_patient=False, temperature=0.2)
    total = 0.0
    for queries, columns in ((rows.video, rows.attn), (rows.attn, rows.video)):
        likelihood = (queries @ columns.T * loss.log_scale.exp()).log_softmax(dim=1)
        for i in range(len(queries)):
            total -= likelihood[i, rows.map_id == rows.map_id[i]].mean() / (2 * len(queries))
    torch.testing.assert_close(rows.loss(loss), total)


@EVERY_FORM
@pytest.mark.parametrize("n", [2, 5])
def test_orthogonal_pairs(form, n):
    """Own similarity 1, all others 0."""
    rows = replace(draw(range(n), range(n)), video=torch.eye(n), attn=torch.eye(n))
    loss = ClipLoss("paired", form, temperature=0.5, bias=-1.0)
    expected = {
        "softmax": math.log1p((n - 1) * math.exp(-2)),
        "sigmoid": math.log1p(math.exp(-1)) + (n - 1) * math.log1p(math.exp(-1)),
    }
    assert rows.loss(loss).item() == pytest.approx(expected[form])


# --- The rules -----------------------------------------------------------------------------------


@EVERY_FORM
@BOTH_MASKS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_map_equals_paired_when_all_maps_are_distinct(form, mask, dtype):
    rows = draw([3, 5, 1, 0, 7, 2, 9, 4], PATIENT, invalid=[2])
    rows = replace(rows, video=rows.video.to(dtype), attn=rows.attn.to(dtype))
    same_map, paired = (
        gradients(build(rule, form, mask_same_patient=mask).to(dtype), rows)
        for rule in ("same_map", "paired")
    )
    assert same_map["value"].dtype == dtype
    assert_same(same_map, paired)


@EVERY_FORM
@BOTH_MASKS
def test_same_map_differs_from_paired_when_maps_repeat(form, mask):
    rows = draw(MAP_ID, PATIENT)
    values = [
        rows.loss(build(rule, form, mask_same_patient=mask)).item()
        for rule in ("same_map", "paired")
    ]
    assert values[0] != pytest.approx(values[1], rel=1e-3)


@EVERY_FORM
@BOTH_MASKS
def test_a_cold_soft_map_is_same_map(form, mask):
    rows = draw(MAP_ID, PATIENT)
    expected = gradients(build("same_map", form, mask_same_patient=mask), rows)
    away = []
    for soft_temperature in (0.3, 0.03, 0.003):
        loss = build("soft_map", form, mask_same_patient=mask, soft_temperature=soft_temperature)
        ours = gradients(loss, rows)
        away.append(abs(ours["value"] - expected["value"]).item())
    assert away == sorted(away, reverse=True)
    assert away[0] > 1e-3
    assert_same(ours, expected)


def test_a_hot_soft_map_takes_all_for_the_same():
    """Every target is uniform then: the cross-entropy against 1/N."""
    rows = draw([0, 1, 2, 3], range(4))
    loss = build("soft_map", soft_temperature=1e6)
    similarity = rows.video @ rows.attn.T * loss.log_scale.exp()
    expected = -0.5 * (similarity.log_softmax(1).mean(1) + similarity.T.log_softmax(1).mean(1))
    torch.testing.assert_close(rows.loss(loss), expected.mean(), rtol=1e-4, atol=0)


def cross_entropies(rows, loss, queries):
    """The mean over ``queries``, (row, candidates, positives), and both directions."""
    scale, total = loss.log_scale.exp(), 0.0
    for near, far in ((rows.video, rows.attn), (rows.attn, rows.video)):
        for row, candidates, positives in queries:
            logs = (near[row] @ far[candidates].T * scale).log_softmax(dim=0)
            hits = [logs[candidates.index(column)] for column in positives]
            total = total - sum(hits) / len(hits)
    return total / (2 * len(queries))


def test_another_map_of_the_same_patient_is_neither_positive_nor_negative():
    rows = draw([0, 1, 2], [0, 0, 1])
    for positives in ("paired", "same_map"):
        loss = build(positives)
        expected = cross_entropies(
            rows, loss, [(0, [0, 2], [0]), (1, [1, 2], [1]), (2, [0, 1, 2], [2])]
        )
        torch.testing.assert_close(rows.loss(loss), expected)
        unmasked = build(positives, mask_same_patient=False)
        everyone = [(row, [0, 1, 2], [row]) for row in range(3)]
        expected = cross_entropies(rows, loss, everyone)
        torch.testing.assert_close(rows.loss(unmasked), expected)


@pytest.mark.parametrize("positives", ["paired", "same_map"])
def test_it_reaches_only_the_terms_that_compare_with_it(positives):
    """Row 1 moves: row 0 (its patient's) says nothing of it; 1 and 2 do."""
    rows = draw([0, 1, 2], [0, 0, 1])
    loss = build(positives)
    moved = replace(rows, video=rows.video.clone(), attn=rows.attn.clone())
    moved.video[1], moved.attn[1] = -rows.attn[2], rows.video[2]
    terms = [(1, [1, 2], [1]), (2, [0, 1, 2], [2])]
    change = cross_entropies(moved, loss, terms) - cross_entropies(rows, loss, terms)
    assert abs(change) > 0.1
    torch.testing.assert_close(moved.loss(loss) - rows.loss(loss), change * 2 / 3)


def test_the_same_map_of_the_same_patient_is_positive_by_map_alone():
    rows = draw([0, 0, 2], [0, 0, 1])
    loss = build("same_map")
    expected = cross_entropies(
        rows, loss, [(0, [0, 1, 2], [0, 1]), (1, [0, 1, 2], [0, 1]), (2, [0, 1, 2], [2])]
    )
    torch.testing.assert_close(rows.loss(loss), expected)
    loss = build("paired")
    expected = cross_entropies(
        rows, loss, [(0, [0, 2], [0]), (1, [1, 2], [1]), (2, [0, 1, 2], [2])]
    )
    torch.testing.assert_close(rows.loss(loss), expected)


# --- Rows that do not count ----------------------------------------------------------------------


@EVERY_FORM
def test_a_row_without_a_negative_is_skipped_and_counted(form):
    """Row 0 has its patient's row 1 and its map's row 2; the other two have one negative each."""
    terms = draw([0, 1, 0], [0, 0, 1]).terms(build("same_map", form))
    assert terms[keys.CLIP_SKIPPED].item() == pytest.approx(1 / 3)
    assert terms[keys.CLIP_NEGATIVES].item() == 1


NOTHING_TO_COMPARE = {
    "one row": ([0], [0], []),
    "one patient": ([0, 1, 2], [5, 5, 5], []),
    "one valid row": ([0, 1, 2], [0, 1, 2], [0, 2]),
    "no valid row": ([0, 1, 2], [0, 1, 2], [0, 1, 2]),
    "one map": ([4, 4, 4], [0, 1, 2], []),
}


@EVERY_FORM
@pytest.mark.parametrize("chunk", [2, 100])
@pytest.mark.parametrize(
    ("positives", "case"),
    # Under ``paired``, rows with one map are each other's negatives.
    [(p, c) for p in POSITIVES for c in NOTHING_TO_COMPARE if (p, c) != ("paired", "one map")],
)
def test_without_any_negative_the_loss_is_0_and_connected(positives, form, case, chunk):
    rows, loss = draw(*NOTHING_TO_COMPARE[case]), build(positives, form, chunk=chunk)
    terms = rows.terms(loss)
    assert terms[keys.CLIP_SKIPPED].item() == 1
    assert terms[keys.CLIP_NEGATIVES].item() == 0
    for name, value in gradients(loss, rows).items():
        assert value is not None, name
        assert (value == 0).all(), name


@EVERY_RULE
@EVERY_FORM
@BOTH_MASKS
def test_an_invalid_row_takes_no_part(positives, form, mask):
    rows = draw(MAP_ID, PATIENT, invalid=[1, 5])
    loss = build(positives, form, mask_same_patient=mask)
    expected = gradients(loss, rows)
    for name in ("video", "attn"):
        assert (expected[name].abs().sum(dim=1) > 0).tolist() == rows.valid.tolist()
    changed = draw(MAP_ID, PATIENT, invalid=[1, 5])
    for row in (1, 5):
        changed.video[row], changed.attn[row] = rows.attn[0], -rows.video[0]
        changed.map_id[row], changed.patient[row] = 2, 7
        changed.attn_map[row] = 0
    assert_same(gradients(loss, changed), expected)


# --- How it is computed --------------------------------------------------------------------------


@EVERY_RULE
@EVERY_FORM
@BOTH_MASKS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chunked_equals_full(positives, form, mask, dtype):
    random = np.random.default_rng(0)
    rows = draw(random.integers(0, 6, 40).tolist(), random.integers(0, 9, 40).tolist(), [3, 17])
    rows = replace(rows, video=rows.video.to(dtype), attn=rows.attn.to(dtype))
    full, *chunked = (
        gradients(build(positives, form, mask_same_patient=mask, chunk=chunk).to(dtype), rows)
        for chunk in (40, 39, 12)
    )
    for name, value in full.items():
        assert value.abs().sum() > 0, name
        for ours in chunked:
            error = (ours[name] - value).norm() / value.norm()
            assert error < (1e-5 if dtype == torch.float32 else 1e-12), name


@EVERY_FORM
def test_what_needs_no_gradient_gets_none_and_changes_nothing(form):
    """A frozen side, and no gradients at all."""
    rows, loss = draw(MAP_ID, PATIENT), build(form=form)
    full = gradients(loss, rows)
    loss.requires_grad_(False)
    video = rows.video.clone().requires_grad_()
    value = replace(rows, video=video).loss(loss)
    (3 * value).backward()
    torch.testing.assert_close(value, full["value"])
    torch.testing.assert_close(video.grad, 3 * full["video"])
    for off in (torch.no_grad, torch.inference_mode):
        for learned in (True, False):
            with off():
                value = rows.loss(build(form=form, learn_temperature=learned))
            assert not value.requires_grad
            torch.testing.assert_close(value, full["value"])


@EVERY_FORM
def test_memory_of_chunks_grows_with_rows_not_their_square(form, live_bytes):
    """Forward and backward pass together."""
    peak = {}
    for n in (200, 400):
        rows = draw(range(n), range(n))
        for chunk in (10, n):
            with live_bytes() as memory:
                gradients(build(form=form, chunk=chunk), rows)
            peak[n, chunk] = memory.peak
    assert peak[400, 400] > 3.5 * peak[200, 200]
    assert peak[400, 10] < 2.5 * peak[200, 10]
    assert peak[400, 10] < peak[400, 400] / 10


@given(seed=st.integers(0, 1000), positives=st.sampled_from(POSITIVES), form=st.sampled_from(FORMS))
@settings(max_examples=20)
def test_the_order_of_rows_makes_no_difference(seed, positives, form):
    rows = draw(MAP_ID, PATIENT, invalid=[4])
    order = torch.randperm(len(MAP_ID), generator=torch.Generator().manual_seed(seed))
    loss = build(positives, form, chunk=3)
    expected, ours = gradients(loss, rows), gradients(loss, rows.take(order))
    for name in ("video", "attn"):
        expected[name] = expected[name][order]
    assert_same(ours, expected)


@EVERY_RULE
@EVERY_FORM
def test_the_sides_make_no_difference(positives, form):
    rows, loss = draw(MAP_ID, PATIENT, invalid=[4]), build(positives, form)
    swapped = replace(rows, video=rows.attn, attn=rows.video)
    torch.testing.assert_close(swapped.loss(loss), rows.loss(loss))


@EVERY_RULE
@EVERY_FORM
@pytest.mark.parametrize("chunk", [2, 100])
def test_gradcheck(positives, form, chunk):
    rows = draw([0, 1, 0, 2, 1], [0, 0, 1, 2, 3], invalid=[3], dim=3)
    loss = build(positives, form, temperature=0.5, chunk=chunk)
    facts = rows.facts(loss)

    def value(video, attn):
        return loss(video, attn, facts)[keys.LOSS_CLIP]

    embeds = rows.video.requires_grad_(), rows.attn.requires_grad_()
    assert torch.autograd.gradcheck(value, embeds)


@EVERY_RULE
@EVERY_FORM
def test_gradients_of_temperature_and_bias_are_differences(positives, form):
    rows, loss = draw(MAP_ID, PATIENT), build(positives, form, temperature=0.4)
    grads = gradients(loss, rows)
    learned = {name: value for name, value in loss.named_parameters() if value.requires_grad}
    assert set(learned) == ({"log_scale", "bias"} if form == "sigmoid" else {"log_scale"})
    for name, parameter in learned.items():
        values = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                parameter += step
                values.append(rows.loss(loss).item())
        difference = (values[0] - values[1]) / 2e-5
        assert grads[name].item() == pytest.approx(difference, rel=1e-6)
        with torch.no_grad():
            parameter += 1e-5


# --- Temperature ---------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.5, 1.0])
def test_the_temperature_starts_as_given(temperature):
    terms = draw([0, 1], [0, 1]).terms(build(temperature=temperature))
    assert terms[keys.CLIP_TEMPERATURE].item() == pytest.approx(temperature)
    assert not terms[keys.CLIP_TEMPERATURE].requires_grad


@pytest.mark.parametrize(("log_scale", "limit"), [(9.0, 0.01), (-4.0, 1.0)])
@EVERY_FORM
def test_the_temperature_is_clamped_and_comes_back(log_scale, limit, form):
    """At the lowest nothing matches, so that it should rise; at the highest all do."""
    n = 4
    axes = torch.eye(n, dtype=torch.float64)
    rows = replace(draw(range(n), range(n)), video=axes, attn=axes.roll(int(limit < 1), dims=0))
    loss = build(form=form, bias=0.0)
    with torch.no_grad():
        loss.log_scale.fill_(log_scale)
    terms = rows.terms(loss)
    assert terms[keys.CLIP_TEMPERATURE].item() == pytest.approx(limit)
    fixed = rows.loss(build(form=form, bias=0.0, temperature=limit))
    torch.testing.assert_close(terms[keys.LOSS_CLIP], fixed)
    optimizer = torch.optim.SGD([loss.log_scale], lr=0.01)
    terms[keys.LOSS_CLIP].backward()
    optimizer.step()
    after = rows.terms(loss)[keys.CLIP_TEMPERATURE].item()
    assert after > 1.01 * limit if limit < 1 else after < 0.999 * limit


def test_a_temperature_that_is_not_learned_gets_no_gradient():
    loss, rows = build(learn_temperature=False), draw(MAP_ID, PATIENT)
    assert set(gradients(loss, rows)) == {"value", "video", "attn"}
    assert loss.log_scale.grad is None


def test_only_sigmoid_learns_and_reports_a_bias():
    rows = draw(MAP_ID, PATIENT)
    terms = rows.terms(ClipLoss(form="sigmoid").double())
    assert terms[keys.CLIP_BIAS].item() == -10
    assert not terms[keys.CLIP_BIAS].requires_grad
    softmax = build(form="softmax")
    assert not softmax.bias.requires_grad
    assert keys.CLIP_BIAS not in rows.terms(softmax)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"positives": "same_mop"}, r"loss\.clip_positives is 'same_mop'.*Did you mean 'same_map'"),
        ({"form": "sigmiod"}, r"loss\.clip_loss is 'sigmiod'.*Did you mean 'sigmoid'"),
        ({"temperature": 0.009}, r"loss\.clip_temperature is 0\.009; use 0\.01 to 1$"),
        ({"temperature": 1.1}, r"loss\.clip_temperature is 1\.1"),
        ({"temperature": -0.1}, r"loss\.clip_temperature"),
        ({"temperature": math.nan}, r"loss\.clip_temperature"),
    ],
)
def test_what_cannot_be_is_refused_by_its_key(arguments, message):
    with pytest.raises(VaclipError, match=message):
        ClipLoss(**arguments)


# --- Where maps are ------------------------------------------------------------------------------


def spot(row, column, frames=3, side=16):
    """One bright 2 x 2 cell of the grid."""
    attn_map = torch.zeros(1, frames, side, side)
    attn_map[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 1
    return attn_map


def test_place_has_unit_length_and_a_cosine_within_0_and_1():
    maps = torch.rand(5, 2, 3, 19, 33, generator=torch.Generator().manual_seed(0))
    place = map_place(maps)
    assert place.shape == (5, 2 * 64)
    torch.testing.assert_close(place.norm(dim=1), torch.ones(5))
    cosines = place @ place.T
    assert (cosines >= 0).all()
    assert (cosines <= 1 + 1e-6).all()


def test_place_of_the_same_map_of_another_and_of_half_of_it():
    half = spot(0, 0) + spot(7, 7)
    place = map_place(torch.stack([spot(0, 0), 0.5 * spot(0, 0), spot(7, 7), half]))
    expected = torch.tensor([1.0, 1.0, 0.0, math.sqrt(0.5)])
    torch.testing.assert_close(place @ place[0], expected)


def test_place_is_the_mean_over_time():
    moving = torch.cat([spot(0, 0, 1), spot(0, 0, 1), spot(3, 4, 1)], dim=1)
    place = map_place(moving[None])[0].view(8, 8)
    expected = torch.zeros(8, 8)
    expected[0, 0], expected[3, 4] = 2 / math.sqrt(5), 1 / math.sqrt(5)
    torch.testing.assert_close(place, expected)


def test_channels_are_kept_apart():
    zero = torch.zeros_like(spot(1, 1))
    first, second = torch.cat([spot(1, 1), zero]), torch.cat([zero, spot(1, 1)])
    place = map_place(torch.stack([first, second]))
    assert (place[0] @ place[1]).item() == 0


def test_an_empty_map_is_nowhere():
    place = map_place(torch.stack([torch.zeros_like(spot(0, 0)), spot(0, 0)]))
    assert (place[0] == 0).all()


def test_a_map_smaller_than_the_grid():
    assert map_place(torch.rand(1, 1, 1, 3, 5)).norm().item() == pytest.approx(1)


def test_an_empty_map_still_belongs_to_its_own_video():
    """Its cosine with itself is 0, which a small temperature would make an affinity of 0."""
    embeds = torch.eye(3)
    loss = ClipLoss("soft_map", soft_temperature=0.005)
    facts = loss.pair_facts(
        torch.ones(3).bool(), torch.arange(3), torch.arange(3), torch.zeros(3, 1, 2, 8, 8)
    )
    plain = ClipLoss("paired")
    expected = plain(embeds, embeds, facts._replace(place=None))[keys.LOSS_CLIP]
    torch.testing.assert_close(loss(embeds, embeds, facts)[keys.LOSS_CLIP], expected)
