"""The look audit: floors, ceiling and the model's own maps, against naive loops."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from explain.looking import CHANNELS, GRID, H, T, W, build
from vaclip import keys
from vaclip.explain.audit import (
    POSITION,
    Audited,
    grid_maps,
    look_arrays,
    look_audit,
    segment_inputs,
)
from vaclip.explain.measures import agreement, core, correlation
from vaclip.maps import draw_control

N = 5
PATIENTS = np.array([0, 0, 1, 2, 3])
PREDICTS = {"map_guided": True, "map_source": "predicted"}
MODEL_MAPS = {"predicted", "gate", "gradcam", "integrated_gradients", "occlusion"}


def blobs(seed, n=N):
    """(n, 1, T, H, W): coarse maps with empty places."""
    coarse = np.random.default_rng(seed).integers(0, 4, (n, 1, *GRID)) * 60
    scale = (T // GRID[0], H // GRID[1], W // GRID[2])
    return torch.from_numpy(np.kron(coarse, np.ones((1, 1, *scale)))).to(torch.uint8)


def shown_segments(backbone, attn):
    generator = torch.Generator().manual_seed(3)
    found = []
    for own in attn:
        segment = {keys.ATTN_MAP: own, keys.ATTN_VALID: torch.tensor(True)}
        if backbone == "features":
            tokens = torch.randn(CHANNELS, *GRID, generator=generator)
            segment[keys.VIDEO_TOKENS] = tokens.half()
        else:
            video = torch.randint(0, 256, (3, T, H, W), generator=generator)
            segment[keys.VIDEO] = video.to(torch.uint8)
        found.append(segment)
    return found


def audited(backbone="3dcnn", **changes):
    own = Audited(
        shown_segments(backbone, blobs(7)),  # maps of others: what the model is shown is no truth
        blobs(0),
        PATIENTS,
        blobs(1, n=1)[0, :, 0],
        (blobs(4), blobs(5), blobs(6)),
    )
    return dataclasses.replace(own, **changes)


OCCLUDED = [0, 4]


def scores(table, which, measure):
    """(N,), NaN where there is no row."""
    rows = table[(table[keys.LOOK_MAP] == which) & (table[keys.LOOK_MEASURE] == measure)]
    return rows.set_index(POSITION)[keys.LOOK_VALUE].reindex(range(N)).to_numpy()


@pytest.fixture(scope="module")
def found():
    """By backbone: model, untrained model, segments, table."""
    made = {}
    for backbone in ("3dcnn", "features"):
        model, other = build(backbone, **PREDICTS), build(backbone, **PREDICTS)
        torch.manual_seed(5)
        for part in other.parameters():
            torch.nn.init.normal_(part, std=0.3)
        own = audited(backbone)
        made[backbone] = model, other, own, look_audit(model, other, own)
    return made


BOTH = pytest.mark.parametrize("backbone", ["3dcnn", "features"])


def truth_of(own):
    cells = own.clinicians.float().unflatten(2, (GRID[0], -1)).unflatten(4, (GRID[1], -1))
    return cells.unflatten(6, (GRID[2], -1)).mean(dim=(3, 5, 7))[:, 0].numpy()


@BOTH
def test_the_grid_has_the_mean_of_each_cell(found, backbone):
    own = found[backbone][2]
    expected = truth_of(own)
    low, high = (side(axis=(1, 2, 3), keepdims=True) for side in (expected.min, expected.max))
    np.testing.assert_allclose(
        grid_maps(own.clinicians, GRID), (expected - low) / (high - low), atol=1e-6
    )


@BOTH
def test_each_map_is_compared_with_the_clinicians_and_not_with_what_is_shown(found, backbone):
    model, _, own, table = found[backbone]
    truth = grid_maps(own.clinicians, GRID)
    prior = np.stack([grid_maps(own.prior[None, :, None].expand(-1, -1, T, -1, -1), GRID)[0]] * N)
    elsewhere = np.stack(
        [sum(core(truth)[n] for n in range(N) if PATIENTS[n] != own) for own in PATIENTS]
    )
    maps = [look_arrays(model, segment_inputs(segment, "cpu")) for segment in own.shown]
    assert set(maps[0]) == MODEL_MAPS
    for which in MODEL_MAPS:
        looked = np.concatenate([one[which] for one in maps])
        rows = OCCLUDED if which == "occlusion" else range(N)
        for measure, values in agreement(looked, truth, prior, elsewhere).items():
            found_rows = scores(table, which, measure)
            there = looked[rows].any(axis=(1, 2, 3))
            np.testing.assert_allclose(
                found_rows[rows], np.where(there, values[rows], np.nan), atol=1e-5
            )
            assert np.isfinite(found_rows).sum() <= len(rows)


@BOTH
def test_floors_are_the_prior_the_centre_and_the_mean_over_other_patients(found, backbone):
    _, _, own, table = found[backbone]
    truth = grid_maps(own.clinicians, GRID)
    centre = torch.from_numpy(draw_control("centre", (1, T, H, W), 1, 0))[None]
    middle = grid_maps(centre, GRID)
    np.testing.assert_allclose(
        scores(table, "centre", "cc"), correlation(np.repeat(middle, N, axis=0), truth)
    )
    np.testing.assert_allclose(scores(table, "prior", "information_gain"), 0, atol=1e-12)
    for n in range(N):
        others = [m for m in range(N) if PATIENTS[m] != PATIENTS[n]]
        expected = np.mean([correlation(truth[[m]], truth[[n]])[0] for m in others])
        assert scores(table, "other", "cc")[n] == pytest.approx(expected)


def test_the_ceiling_is_each_annotator_against_the_mean_of_the_others():
    own = audited()
    alone = [part.clone() for part in own.annotators]
    alone[0][1] = alone[1][1] = 0  # one annotator is left
    alone[2][2] = 0  # two are left
    model = build(**PREDICTS)
    table = look_audit(model, model, dataclasses.replace(own, annotators=tuple(alone)))
    grids = [grid_maps(part, GRID) for part in alone]
    for n in range(N):
        pairs = []
        for one in range(3):
            rest = [g[n] / g[n].sum() for m, g in enumerate(grids) if m != one and g[n].any()]
            if grids[one][n].any() and rest:
                pairs.append(correlation(grids[one][[n]], np.mean(rest, axis=0)[None])[0])
        value = scores(table, keys.LOOK_CEILING, "cc")[n]
        if n == 1:
            assert math.isnan(value)
        else:
            assert len(pairs) == (2 if n == 2 else 3)
            assert value == pytest.approx(np.mean(pairs), abs=1e-6)


def test_a_single_annotator_gives_no_ceiling():
    model = build()
    table = look_audit(model, model, audited(annotators=(blobs(4),)))
    assert keys.LOOK_CEILING not in set(table[keys.LOOK_MAP])


def test_the_same_network_with_other_weights_looks_elsewhere(found):
    model, other, own, table = found["3dcnn"]
    for which in MODEL_MAPS:
        looked, random = (
            np.concatenate([look_arrays(m, segment_inputs(s, "cpu"))[which] for s in own.shown])
            for m in (model, other)
        )
        rows = OCCLUDED if which == "occlusion" else range(N)
        values = scores(table, which, keys.LOOK_RANDOMISED)
        np.testing.assert_allclose(values[rows], correlation(looked, random)[rows], atol=1e-5)
        assert np.nanmax(values) < 0.99
    itself = look_audit(model, model, own, permuted=other)
    values = scores(itself, "gradcam", keys.LOOK_RANDOMISED)
    np.testing.assert_allclose(values[np.isfinite(values)], 1)
    for which in MODEL_MAPS:
        one, two = (
            scores(table, which, keys.LOOK_RANDOMISED),
            scores(itself, which, keys.LOOK_PERMUTED),
        )
        np.testing.assert_array_equal(one, two)


def test_every_map_and_the_clinicians_are_removed(found):
    table = found["3dcnn"][3]
    for measure in keys.LOOK_REMOVAL:
        own = table[table[keys.LOOK_MEASURE] == measure]
        assert set(own[keys.LOOK_MAP]) == {*MODEL_MAPS, keys.LOOK_CLINICIANS}
        assert set(own[POSITION]) == set(OCCLUDED)
        assert len(own) == 2 * 6
        assert own[keys.LOOK_VALUE].abs().max() <= 1


def test_it_is_the_same_twice_and_no_row_is_undefined(found):
    model, other, own, table = found["features"]
    assert look_audit(model, other, own).equals(table)
    assert np.isfinite(table[keys.LOOK_VALUE]).all()
    assert set(table[keys.LOOK_MEASURE]) == {
        *keys.LOOK_AGREEMENT, *keys.LOOK_REMOVAL, keys.LOOK_RANDOMISED
    }  # fmt: skip


def test_a_segment_without_a_map_agrees_with_nothing():
    attn = blobs(0)
    attn[0] = 0
    attn[1] = 100  # constant: no place is told
    table = look_audit(build(), build(), audited(clinicians=attn))
    agreed = table[table[keys.LOOK_MEASURE].isin(keys.LOOK_AGREEMENT)]
    own = agreed[agreed[keys.LOOK_MAP] == "gradcam"]
    assert set(own[own[keys.LOOK_MEASURE] == "sim"][POSITION]) == {2, 3, 4}
    assert set(own[own[keys.LOOK_MEASURE] == "cc"][POSITION]) <= {2, 3, 4}
