"""The cache of tokens: what lies in it, made once, interrupted, damaged, too large."""

from __future__ import annotations

import dataclasses
import logging
import multiprocessing
import os
import shutil
import signal

import numpy as np
import pytest
import torch

from conftest import FRAMES, read_rows, write_rows, write_video
from features.encoders import GRID, SIDE, MeanEncoder
from vaclip.data.cache import SampleSettings, cache_study
from vaclip.data.video import decode_clip
from vaclip.errors import VaclipError
from vaclip.features import cache as cache_module
from vaclip.features.cache import TokenSettings, cache_tokens, encode, token_bytes
from vaclip.study.load import load_study

FPS = 10
SETTINGS = TokenSettings(fps=FPS)


@pytest.fixture
def root(tiny_study):
    return tiny_study(patients_per_class=1)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def fill(root, cache):
    def fill(encoder=None, settings=SETTINGS, **options):
        sampling = SampleSettings(settings.fps, (16, 16), ())
        clips = cache_study(load_study(root), sampling, cache, workers=1)
        encoder = encoder or MeanEncoder()
        return cache_tokens(clips, encoder, settings, cache, **{"workers": 1, **options})

    return fill


def entries(cache):
    return {path.parent for path in cache.glob("tokens/*/*/meta.json")}


def content(clips):
    return [np.load(clip.tokens.path) for clip in clips]


def cells(frames, step=1, side=GRID):
    """The mean colour of each cell over ``step`` frames, the last one held, (S', H', W', 3)."""
    missing = -len(frames) % step
    frames = np.concatenate([frames, frames[-1:].repeat(missing, axis=0)]).astype(float)
    cell = SIDE // side
    return frames.reshape(len(frames) // step, step, side, cell, side, cell, 3).mean((1, 3, 5))


def frames_of(clip, fps=FPS):
    return decode_clip(clip.clip.video, fps=fps, size=(SIDE, SIDE)).frames


# --- what lies in it -----------------------------------------------------------------------------


def test_tokens_of_pictures_equal_the_closed_form(fill):
    clips = fill()
    assert len(clips) == 3
    for clip in clips:
        tokens = np.load(clip.tokens.path)
        assert tokens.dtype == np.float16
        assert (clip.tokens.steps, clip.tokens.step) == (FRAMES, 1)
        np.testing.assert_allclose(tokens, cells(frames_of(clip)), rtol=1e-3)


def test_tokens_of_windows_hold_the_last_picture(fill):
    for clip in fill(MeanEncoder(window=8, step=4), TokenSettings(fps=9)):  # 18 samples
        tokens = np.load(clip.tokens.path)
        assert (clip.samples, clip.tokens.steps, clip.tokens.step) == (18, 5, 4)
        np.testing.assert_allclose(tokens, cells(frames_of(clip, 9), step=4), rtol=1e-3)


def test_a_smaller_grid_and_fewer_samples(fill):
    for clip in fill(settings=TokenSettings(FPS, every=3, grid=(2, 2))):
        tokens = np.load(clip.tokens.path)
        assert (clip.tokens.steps, clip.tokens.step) == (7, 3)
        np.testing.assert_allclose(tokens, cells(frames_of(clip)[::3], side=2), rtol=1e-3)


def test_pixels_are_normalised_before_they_are_shown(fill):
    shown = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 1.0)}
    for plain, clip in zip(fill(), fill(MeanEncoder(**shown)), strict=True):
        colours = np.load(plain.tokens.path).astype(float) / 255
        wanted = (colours - shown["mean"]) / shown["std"]
        np.testing.assert_allclose(np.load(clip.tokens.path), wanted, atol=2e-3)


def test_chunks_make_no_difference(monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (11, SIDE, SIDE, 3), np.uint8)
    for encoder in (MeanEncoder(), MeanEncoder(window=4, step=2)):
        whole = np.concatenate(list(encode(encoder.network(), encoder.info, SETTINGS, frames)))
        monkeypatch.setattr(cache_module, "_PICTURES", 4)
        parts = list(encode(encoder.network(), encoder.info, SETTINGS, frames))
        assert len(parts) == 3
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        monkeypatch.undo()


def test_the_bytes_that_are_told_are_those_that_are_written(fill):
    encoder = MeanEncoder(window=8, step=4)
    settings = TokenSettings(9, grid=(3, 2))
    for clip in fill(encoder, settings):
        tokens = np.load(clip.tokens.path)
        assert token_bytes(clip, encoder.info, settings) == tokens.nbytes


# --- made once -----------------------------------------------------------------------------------


def test_a_second_call_loads_and_decodes_nothing(fill, monkeypatch):
    first = fill()
    monkeypatch.setattr(cache_module, "decode_clip", lambda *_, **__: pytest.fail("decoded twice"))
    again = MeanEncoder()
    calls = []
    assert fill(again, progress=lambda *call: calls.append(call)) == first
    assert again.loaded == 0
    assert calls == []


def test_one_video_twice_is_encoded_once(root, fill, cache):
    rows = read_rows(root / "clips.csv")
    rows[1]["video"] = rows[0]["video"]
    write_rows(root / "clips.csv", rows)
    one, other, _ = fill()
    assert one.tokens == other.tokens
    assert len(entries(cache)) == 2


@pytest.mark.parametrize(
    ("encoder", "settings"),
    [
        (MeanEncoder(weights="others"), SETTINGS),
        (MeanEncoder(std=(1.0,) * 3), SETTINGS),
        (MeanEncoder(step=2, window=2), SETTINGS),
        (MeanEncoder(), TokenSettings(FPS, every=2)),
        (MeanEncoder(), TokenSettings(FPS, grid=(2, 4))),
        (MeanEncoder(), TokenSettings(5)),
    ],
)
def test_two_encoders_or_settings_lie_side_by_side(fill, cache, encoder, settings):
    first = content(fill())
    fill(encoder, settings)
    assert len(entries(cache)) == 6
    for one, other in zip(content(fill()), first, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_encoders_own_grid_is_the_same_as_none(fill, cache):
    fill()
    fill(settings=TokenSettings(FPS, grid=(GRID, GRID)))
    fill(MeanEncoder(licence="MIT", source="by another name"))
    assert len(entries(cache)) == 3


def test_another_span_and_another_video(root, fill, cache):
    fill()
    rows = read_rows(root / "clips.csv")
    for row in rows:
        row |= {"start_s": "0.5", "end_s": "1.0"}
    write_rows(root / "clips.csv", rows)
    (clip, *_) = fill()
    np.testing.assert_allclose(np.load(clip.tokens.path), cells(frames_of(clip)[5:10]), rtol=1e-3)
    write_video(root / "videos/steady-0-0.mkv", np.full((FRAMES, 32, 32, 3), 255, np.uint8))
    assert np.load(fill()[0].tokens.path).min() == 255
    assert len(entries(cache)) == 7


# --- interrupted, damaged, at once ---------------------------------------------------------------


def test_an_interrupted_call_leaves_what_is_whole_and_the_next_goes_on(fill, cache, monkeypatch):
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        for number, tokens in enumerate(encode(*arguments)):
            if len(calls) == 2 and number == 1:
                raise KeyboardInterrupt
            yield tokens

    monkeypatch.setattr(cache_module, "_PICTURES", 5)
    monkeypatch.setattr(cache_module, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill()
    assert len(entries(cache)) == 1
    assert not list(cache.rglob(".tmp-*"))
    calls[:] = [None] * 2  # does not stop again
    clips = fill()
    assert len(calls) == 4
    for clip in clips:
        np.testing.assert_allclose(np.load(clip.tokens.path), cells(frames_of(clip)), rtol=1e-3)


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_a_killed_call_leaves_what_is_whole_and_the_next_goes_on(fill, cache, monkeypatch):
    """As by SIGKILL: nothing is tidied up."""

    def killed(*arguments):
        for number, tokens in enumerate(encode(*arguments)):
            if len(entries(cache)) == 1 and number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            yield tokens

    monkeypatch.setattr(cache_module, "_PICTURES", 5)
    monkeypatch.setattr(cache_module, "encode", killed)
    process = multiprocessing.get_context("fork").Process(target=fill)
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    assert len(entries(cache)) == 1
    assert len(list(cache.rglob("tokens.npy"))) == 2  # the half one, under a name of its own
    monkeypatch.setattr(cache_module, "encode", encode)
    for clip in fill():
        np.testing.assert_allclose(np.load(clip.tokens.path), cells(frames_of(clip)), rtol=1e-3)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)


def other_numbers(path):
    np.save(path, np.load(path) + np.float16(1))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("tokens.npy", cut), ("tokens.npy", flip_a_bit), ("tokens.npy", other_numbers),
        ("tokens.npy", os.unlink), ("meta.json", cut), ("meta.json", os.unlink),
        ("meta.json", lambda path: path.write_text("{}")),
    ],
)  # fmt: skip
def test_a_damaged_entry_is_noticed_and_made_anew(fill, caplog, name, damage):
    clips = fill()
    wanted = content(clips)
    fill()
    damage(clips[1].tokens.path.with_name(name))
    with caplog.at_level(logging.WARNING):
        again = fill()
    for one, other in zip(content(again), wanted, strict=True):
        np.testing.assert_array_equal(one, other)
    warnings = [r.getMessage() for r in caplog.records if "damaged cache entry" in r.getMessage()]
    assert len(warnings) == 1
    assert clips[1].tokens.path.parent.name in warnings[0]


def test_several_processes_give_what_one_gives(fill, cache):
    alone = content(fill())
    shutil.rmtree(cache)
    for one, other in zip(content(fill(workers=2)), alone, strict=True):
        np.testing.assert_array_equal(one, other)


def _fill_at_once(fill, barrier, answers):
    barrier.wait()
    try:
        answers.put([str(clip.tokens.path) for clip in fill()])
    except BaseException as error:  # noqa: BLE001 - reported by the test
        answers.put(repr(error))


@pytest.mark.skipif(os.name != "posix", reason="needs fork")
def test_two_commands_fill_the_same_cache(fill, cache):
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_fill_at_once, args=(fill, barrier, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    one, other = answers.get(timeout=60), answers.get(timeout=60)
    for process in processes:
        process.join(timeout=60)
    assert isinstance(one, list)
    assert one == other
    assert len(entries(cache)) == 3
    assert not list(cache.rglob(".tmp-*"))


# --- room ----------------------------------------------------------------------------------------

EACH = 2 * FRAMES * GRID * GRID * 3


def test_what_does_not_fit_the_disk_is_refused_before_anything_is_written(fill, cache, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(
        cache_module.shutil, "disk_usage", lambda _: usage._replace(free=3 * EACH - 1)
    )
    encoder = MeanEncoder()
    with pytest.raises(VaclipError, match=r"tokens of 3 clips by means take .* GiB free"):
        fill(encoder)
    assert (entries(cache), encoder.loaded) == (set(), 0)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage._replace(free=3 * EACH))
    fill(encoder)
    assert len(entries(cache)) == 3


def test_a_limit_counts_what_is_missing_alone(fill, caplog):
    limit = 3 * EACH / 2**30
    with pytest.raises(VaclipError, match=r"features\.limit_gb is 1e-06"):
        fill(limit_gb=1e-6)
    with caplog.at_level(logging.INFO):
        fill(limit_gb=limit)
    assert "the tokens of 3 clips by means take 0.00 GiB (0.0 MiB a clip)" in caplog.text
    fill(limit_gb=1e-9)  # nothing is missing


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoder", "settings", "told"),
    [
        (MeanEncoder(), TokenSettings(FPS, grid=(5, 2)), r"features\.grid is \[5, 2\].*\[4, 4\]"),
        (MeanEncoder(window=4, step=2), TokenSettings(FPS, every=2), r"features\.every is 2"),
    ],
)
def test_settings_that_do_not_fit_the_encoder(fill, encoder, settings, told):
    with pytest.raises(VaclipError, match=told):
        fill(encoder, settings)


class Wrong(MeanEncoder):
    def __init__(self, network):
        super().__init__(weights=repr(network))
        self.gives = network

    def network(self):
        return self.gives


class Infinite(torch.nn.Module):
    def forward(self, pictures):
        return torch.full((len(pictures), 3, GRID, GRID), 1e6)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (torch.nn.Identity(), r"gives tokens of \(20, 3, 1, 32, 32\) where it states \(20, 3, 1,"),
        (Infinite(), "not finite, or beyond float16"),
    ],
)
def test_an_encoder_that_gives_something_else(fill, cache, network, told):
    with pytest.raises(
        VaclipError, match=rf"(?s)^3 clips cannot be encoded:\n.*'limping-0-0'.*{told}"
    ):
        fill(Wrong(network))
    assert entries(cache) == set()


def test_a_video_that_vanished_is_named(fill, root, cache):
    clips = fill()
    shutil.rmtree(cache / "tokens")
    gone = dataclasses.replace(clips[0].clip, video=root / "videos/gone.mkv")
    with pytest.raises(VaclipError, match=r"gone\.mkv: cannot be read"):
        cache_tokens([dataclasses.replace(clips[0], clip=gone)], MeanEncoder(), SETTINGS, cache)
