"""Deletion and insertion: closed forms on a model that reads one place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid

from explain.looking import GRID, build, segments
from vaclip.explain.removal import RANDOM_MAPS, STEPS, gains_over_random, removal_areas
from vaclip.explain.saliency import covered, tubes

TARGET, CELLS = 20, 24
SEGMENT = (
    torch.arange(float(CELLS)).view(1, 1, *GRID),  # its mean, 11.5, is the value of no cell
    torch.zeros(1, 1, *GRID),
    torch.ones(1, dtype=torch.bool),
)


def reads_one_place(seen, attn_map, attn_valid, *, embed):
    """Is sure of class 1 where it sees the target, else of class 0."""
    there = (seen.flatten(1) == TARGET).any(dim=1)
    return {"logits": torch.stack([torch.where(there, -99.0, 99.0), torch.zeros(len(seen))], 1)}


def ranks_of(*orders):
    """From orders of the cells to the place of each cell."""
    return torch.tensor(np.array(orders)).argsort(dim=1).view(-1, *GRID)


@pytest.mark.parametrize("place", [0, 1, 4, 11, 23])
def test_areas_of_a_model_that_reads_one_place(place):
    others = [cell for cell in range(CELLS) if cell != TARGET]
    ranks = ranks_of([*others[:place], TARGET, *others[place:]], range(CELLS))
    deletion, insertion = removal_areas(reads_one_place, SEGMENT, ranks, batch_size=5)
    for found, own in ((0, place), (1, TARGET)):
        steps = np.arange(STEPS + 1) * CELLS // STEPS
        kept = (own >= steps).astype(float)
        assert deletion[found] == pytest.approx(trapezoid(kept, dx=1 / STEPS))
        assert insertion[found] == pytest.approx(trapezoid(1 - kept, dx=1 / STEPS))
    if place == 0:  # found at once: all is lost, and won, with the first step
        assert deletion[0] == pytest.approx(1 / (2 * STEPS))
        assert insertion[0] == pytest.approx(1 - 1 / (2 * STEPS))


def test_a_map_of_the_place_gains_and_one_of_all_others_loses():
    there = torch.zeros(2, *GRID)
    there[0].view(-1)[TARGET] = 1
    there[1] = 1 - there[0]
    gains = torch.zeros(2, 2)
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        gains += gains_over_random(reads_one_place, SEGMENT, there, tubes(GRID), generator) / 40
    # The target's place in a random order is even: an area is 1/2 in the mean.
    first = 0.5 - 1 / (2 * STEPS)
    tolerance = 4 * 0.29 / (40 * RANDOM_MAPS) ** 0.5
    torch.testing.assert_close(gains, torch.tensor([[first, -first]] * 2), atol=tolerance, rtol=0)
    assert (gains[:, 0] > 0.2).all()
    assert (gains[:, 1] < -0.2).all()


def test_a_map_without_a_mark_is_a_random_one():
    """Tubes that are marked alike have no order of their own."""
    found = [
        gains_over_random(
            reads_one_place, SEGMENT, torch.zeros(1, *GRID), tubes(GRID),
            torch.Generator().manual_seed(seed),
        )
        for seed in range(60)
    ]  # fmt: skip
    gains = torch.stack(found)[..., 0]
    assert gains.std() > 0.1
    assert gains.mean(dim=0).abs().max() < 4 * 0.33 / 60**0.5


@pytest.mark.parametrize("backbone", ["3dcnn", "features"])
def test_areas_are_those_of_a_naive_loop(backbone):
    model = build(backbone)
    own = tuple(part[:1] for part in segments(backbone))
    tube_of = tubes(GRID, most=(1, 3, 2))
    order = [4, 0, 5, 2, 1, 3]
    ranks = torch.tensor(order).argsort()[tube_of][None]
    deletion, insertion = removal_areas(model, own, ranks)
    with torch.no_grad():
        label = model(*own)["logits"].argmax()
        areas = []
        for removed in (True, False):
            curve = []
            for step in range(STEPS + 1):
                first = torch.isin(tube_of, torch.tensor(order[:step]))
                one = covered(own, (~first if removed else first)[None])
                curve.append(model(*one)["logits"].softmax(dim=1)[0, label].item())
            areas.append(trapezoid(curve, dx=1 / STEPS))
    assert [deletion.item(), insertion.item()] == pytest.approx(areas, abs=1e-5)
