"""Measures of agreement: closed forms, naive loops, and other people's implementations."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score

from vaclip import keys
from vaclip.explain.measures import (
    EVERYWHERE,
    agreement,
    auc_judd,
    auc_shuffled,
    core,
    correlation,
    density,
    divergence,
    energy_inside,
    information_gain,
    intersection,
    scanpath_saliency,
)

GRID = (2, 3, 4)


def maps(seed=0, n=5, grid=GRID):
    """Maps with ties and empty places."""
    return np.random.default_rng(seed).integers(0, 5, (n, *grid)).astype(float)


def cells(*values):
    return np.array([values], float)


# --- closed forms --------------------------------------------------------------------------------


def test_equal_maps_agree_fully_at_any_brightness():
    one = np.arange(24, dtype=np.uint8).reshape(1, *GRID)
    for other in (one, 5 * one):
        assert correlation(one, other) == pytest.approx(1)
        assert intersection(one, other) == pytest.approx(1)
        assert auc_judd(one, other) == pytest.approx(1)
        assert 0 <= divergence(one, other)[0] <= -math.log(1 - EVERYWHERE)
    assert correlation(one, 5 * one + 3) == pytest.approx(1)


def test_complementary_maps_do_not_agree():
    one = np.zeros((1, 2, 4, 4), np.uint8)
    one[..., :2] = 255
    assert correlation(255 - one, one) == pytest.approx(-1)
    assert intersection(255 - one, one) == 0
    assert auc_judd(255 - one, one) == 0
    assert energy_inside(255 - one, one) == 0
    assert scanpath_saliency(255 - one, one) == pytest.approx(-1)
    # Every place that is looked at has the share that is laid over everything.
    assert divergence(255 - one, one) == pytest.approx(math.log((1 / 16) / (EVERYWHERE / 32)))


def test_half_an_overlap():
    one, other = np.zeros((2, 1, 4, 4))
    one[..., 0:2] = 200
    other[..., 1:3] = 100
    assert correlation(one, other) == pytest.approx(0, abs=1e-12)
    assert intersection(one, other) == pytest.approx(0.5)
    assert energy_inside(one, other) == pytest.approx(0.5)
    assert scanpath_saliency(one, other) == pytest.approx(0, abs=1e-12)
    assert auc_judd(one, other) == pytest.approx(0.5)


def test_the_information_gain_is_the_difference_of_the_divergences():
    looked, clinicians, prior = maps(0), maps(1), maps(2)
    less = divergence(prior, clinicians) - divergence(looked, clinicians)
    np.testing.assert_allclose(information_gain(looked, clinicians, prior), less / math.log(2))
    np.testing.assert_allclose(information_gain(prior, clinicians, prior), 0, atol=1e-12)


def test_a_map_that_finds_one_of_g_places_gains_almost_log_g_bits():
    found = np.eye(16)
    gain = information_gain(found, found, np.ones((16, 16)))
    np.testing.assert_allclose(gain, math.log2(16 * (1 - EVERYWHERE) + EVERYWHERE))


def test_the_core_is_what_has_half_of_the_largest_value():
    assert core(cells(0, 1, 2, 4)).tolist() == [[False, False, True, True]]
    assert not core(cells(3, 3, 3)).any()
    assert not core(cells(0, 0, 0)).any()


def test_where_all_look_is_no_finding_for_the_shuffled_auc():
    """One place that all look at, and one of the patient's own."""
    clinicians, others = cells(1, 1, 0, 0), cells(1, 0, 0, 0)
    assert auc_shuffled(cells(1, 0, 0, 0), clinicians, others) == pytest.approx(0.25)
    assert auc_shuffled(cells(0, 1, 0, 0), clinicians, others) == pytest.approx(0.75)
    assert auc_shuffled(cells(1, 0, 0, 0), cells(1, 0, 0, 0), others) == pytest.approx(0.5)
    assert auc_judd(cells(1, 0, 0, 0), cells(1, 0, 0, 0)) == 1


# --- what is undefined ---------------------------------------------------------------------------


def test_what_is_undefined_is_nan_and_spoils_no_other_row():
    some, flat, empty = cells(1, 2, 4), cells(3, 3, 3), cells(0, 0, 0)
    names = {
        (0, 1): {"cc", "nss", "auc_judd", "energy", "auc_shuffled"},  # constant clinicians' map
        (0, 2): set(keys.LOOK_AGREEMENT),
        (1, 0): {"cc", "nss"},
        (2, 0): {"cc", "nss", "sim", "kl", "energy", "information_gain"},
    }
    kinds = (some, flat, empty)
    for (looked, clinicians), undefined in names.items():
        pair = [np.concatenate([kinds[which], some]) for which in (looked, clinicians)]
        found = agreement(*pair, np.ones((2, 3)), np.ones((2, 3)))
        assert {name for name, values in found.items() if math.isnan(values[0])} == undefined
        assert all(math.isfinite(values[1]) for values in found.values())


def test_a_constant_up_to_rounding_is_constant():
    looked = np.full((1, 7), 1 / 7, np.float32)
    looked[0, 3] = np.nextafter(looked[0, 3], np.float32(1))
    assert math.isnan(correlation(looked, np.arange(7)[None])[0])
    assert math.isnan(scanpath_saliency(looked, np.arange(7)[None])[0])


# --- naive loops ---------------------------------------------------------------------------------


def naive(looked, clinicians, prior, others):
    """Each measure by loops over the cells of one segment, none of them empty or constant."""
    places = list(product(*map(range, looked.shape)))
    a, m, p = ({at: one[at] / one.sum() for at in places} for one in (looked, clinicians, prior))
    marked = [at for at in places if clinicians[at] >= clinicians.max() / 2]
    rest = [at for at in places if at not in marked]

    def over_all(one, at):
        return (1 - EVERYWHERE) * one[at] + EVERYWHERE / len(places)

    def order(at, other):
        return (looked[at] > looked[other]) + 0.5 * (looked[at] == looked[other])

    mean = sum(looked[at] for at in places) / len(places)
    deviation = math.sqrt(sum((looked[at] - mean) ** 2 for at in places) / len(places))
    seen = [at for at in places if m[at] > 0]
    pairs = [(at, other, others[other]) for at in marked for other in places]
    return {
        "cc": pearsonr(looked.ravel(), clinicians.ravel())[0],
        "sim": sum(min(a[at], m[at]) for at in places),
        "kl": sum(m[at] * math.log(m[at] / over_all(a, at)) for at in seen),
        "nss": sum((looked[at] - mean) / deviation for at in marked) / len(marked),
        "auc_judd": np.mean([order(at, other) for at in marked for other in rest]),
        "energy": sum(a[at] for at in marked),
        "auc_shuffled": sum(w * order(at, other) for at, other, w in pairs)
        / sum(w for _, _, w in pairs),
        "information_gain": sum(
            m[at] * math.log2(over_all(a, at) / over_all(p, at)) for at in seen
        ),
    }


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_all_are_those_of_naive_loops(seed):
    four = [maps([seed, side], n=3) for side in range(4)]
    found = agreement(*four)
    assert tuple(found) == keys.LOOK_AGREEMENT
    for row, own in enumerate(zip(*four, strict=True)):
        for name, value in naive(*own).items():
            assert found[name][row] == pytest.approx(value, abs=1e-9), name


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100))
@settings(max_examples=40)
def test_scale_is_no_matter_and_bounds_hold(seed, scale):
    four = [maps([seed, side]) for side in range(4)]
    found, scaled = agreement(*four), agreement(scale * four[0], *four[1:])
    for name, values in found.items():
        np.testing.assert_allclose(scaled[name], values, atol=1e-9)
    for name in ("sim", "energy", "auc_judd", "auc_shuffled"):
        assert ((found[name] >= 0) & (found[name] <= 1)).all()
    assert (np.abs(found["cc"]) <= 1 + 1e-12).all()
    assert (found["kl"] >= 0).all()
    assert (found["kl"] <= math.log(math.prod(GRID) / EVERYWHERE)).all()


def test_the_auc_is_scikit_learns():
    looked, clinicians = maps(3), maps(4)
    for value, score, own in zip(auc_judd(looked, clinicians), looked, clinicians, strict=True):
        assert value == pytest.approx(roc_auc_score(core(own[None])[0], score.ravel()))


def test_a_density_sums_to_one():
    np.testing.assert_allclose(density(maps()).sum(axis=1), 1)
    assert np.isnan(density(np.zeros((2, 3)))).all()


# --- other people's implementations --------------------------------------------------------------

# Of maps (k i mod 31), i = 1 to 30, on a grid of 5 x 6, the clinicians' squared: pysaliency 0.2.22
# (CC, SIM, image_based_kl_divergence of the model's map laid over the grid by hand, NSS, and
# general_roc of the values at the core against those elsewhere; for the shuffled AUC against all,
# each as often as 13 i mod 5). saliencytools 0.35 has the same AUC-Judd where nothing is tied.
PYSALIENCY = {
    (7, 11): {
        "cc": -0.033458583, "sim": 0.574510841, "kl": 0.636929695, "nss": -0.096278548,
        "auc_judd": 0.460317460, "auc_shuffled": 0.467592593,
    },
    (12, 5): {
        "cc": 0.234210083, "sim": 0.628415301, "kl": 0.454196390, "nss": 0.404369901,
        "auc_judd": 0.666666667, "auc_shuffled": 0.711111111,
    },
    (3, 3): {
        "cc": 0.970298914, "sim": 0.851930196, "kl": 0.074299746, "nss": 1.213109702,
        "auc_judd": 1.0, "auc_shuffled": 0.916666667,
    },
}  # fmt: skip


@pytest.mark.parametrize("pair", PYSALIENCY, ids=str)
def test_the_values_are_pysaliencys(pair):
    def multiples(factor, modulus=31):
        return (factor * np.arange(1.0, 31) % modulus).reshape(1, 5, 6)

    looked, clinicians = (multiples(factor) for factor in pair)
    found = agreement(looked, clinicians**2, np.ones((1, 5, 6)), multiples(13, 5))
    for name, value in PYSALIENCY[pair].items():
        assert found[name][0] == pytest.approx(value, abs=1e-9), name
