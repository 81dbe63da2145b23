from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vaclip.data.sampling import (
    FrameSampler,
    plan_segments,
    segment_samples,
)

# Times lie on a grid of 10 ms, and no sample of these rates comes nearer than 1.4 ms to a grid
# point that it does not hit. So the exact oracle needs no tolerance for rounded time stamps.
GRID = Fraction(1, 100)
RATES = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 50]
GAPS = st.lists(st.integers(1, 60), min_size=1, max_size=25)


def shown(times, until, fps, start, end):
    """Asks for each sample time in turn which picture a player shows."""
    samples, number = [], 0
    while (now := start + Fraction(number, fps)) < (until if end is None else min(until, end)):
        samples.append(max(index for index, time in enumerate(times) if time <= now))
        number += 1
    return samples


def sampled(times, until, fps, start=0.0, end=None):
    """The frame of every sample, as a decoder asks for it; the last is shown to ``until``."""
    sampler = FrameSampler(fps, start, end)
    ends = enumerate([*times[1:], until])
    return [index for index, shown_until in ends for _ in range(sampler.fills(shown_until))]


@given(GAPS, st.sampled_from(RATES), st.integers(0, 300), st.none() | st.integers(1, 400))
@example([10], 10, 0, None)
@example([10, 10, 10], 10, 10, 10)  # start and end on frame times
def test_each_sample_shows_what_a_player_shows(gaps, fps, start, length):
    *times, until = (step * GRID for step in accumulate(gaps, initial=0))
    start *= GRID
    end = None if length is None else start + length * GRID
    exact_end = None if end is None else float(end)
    planned = sampled(list(map(float, times)), float(until), fps, float(start), exact_end)
    assert planned == shown(times, until, fps, start, end)


@given(GAPS, st.sampled_from(RATES), st.integers(0, 100), st.integers(1, 400))
def test_done_exactly_when_no_later_frame_fills_a_sample(gaps, fps, start, length):
    times = [step * 0.01 for step in accumulate(gaps, initial=0)]
    sampler = FrameSampler(fps, start * 0.01, (start + length) * 0.01)
    for position, until in enumerate(times[1:], start=1):
        sampler.fills(until)
        rest = FrameSampler(fps, start * 0.01, (start + length) * 0.01)
        rest.fills(times[position])
        assert sampler.done == (rest.fills(1e4) == 0)


def test_open_ended_sampler_is_never_done():
    sampler = FrameSampler(10)
    sampler.fills(1e3)
    assert not sampler.done


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_times_rounded_to_90_khz_give_every_frame_once(rate):
    times = [round(90_000 * n / rate) / 90_000 for n in range(90)]
    assert sampled(times, times[-1] + 1 / rate, rate) == list(range(90))


@pytest.mark.parametrize("rate", [24, 30, 60])
def test_times_rounded_to_milliseconds_give_every_frame_once(rate):
    times = [round(1000 * n / rate) / 1000 for n in range(90)]
    assert sampled(times, times[-1] + 1 / rate, rate) == list(range(90))


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 60))
@example(40, 16, 16)
@example(24, 16, 16)  # exactly half a stride is left: not covered
@example(25, 16, 16)
def test_segments_lie_in_the_clip_and_cover_it(samples, frames, stride):
    starts = plan_segments(samples, frames, stride)
    if samples < frames:
        assert starts == [0]
        return
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] + frames <= samples
    assert all(later - earlier <= stride for earlier, later in pairwise(starts))
    assert 2 * (samples - (starts[-1] + frames)) <= stride
    regular = [start for start in range(0, samples, stride) if start + frames <= samples]
    assert starts[: len(regular)] == regular
    assert starts[len(regular) :] in ([], [samples - frames])
    left = samples - (regular[-1] + frames)
    assert (len(starts) > len(regular)) == (left > stride / 2)


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 4, 4)])
def test_segments_of_nothing_are_refused(sizes):
    with pytest.raises(ValueError, match="positive"):
        plan_segments(*sizes)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_segment_samples_follow_each_other_and_hold_the_last(samples, frames, stride):
    for start in plan_segments(samples, frames, stride):
        wanted = list(segment_samples(start, samples, frames))
        assert wanted == [min(start + offset, samples - 1) for offset in range(frames)]
        if samples >= frames:
            assert wanted == list(range(start, start + frames))


def test_short_clip_holds_its_last_picture():
    assert list(segment_samples(0, samples=3, frames=5)) == [0, 1, 2, 2, 2]
