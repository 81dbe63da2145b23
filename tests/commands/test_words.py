"""What a person types reaches Hydra as it is meant, whatever folders are called."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from vaclip import VaclipError
from vaclip.commands.words import PATH_SETTINGS, home_path, require_study, words_for_hydra
from vaclip.compose import compose_settings, quoted
from vaclip.config import StudyRunConfig, all_keys

AWKWARD = "=()[]{}'\"#!,~$% ab/\\é:;@*?|&<>`^-+.1"
"""Letters that a grammar may stumble over."""
NAMES = ["a=b", "(1) [2] {3}", "it's", 'say "x"', "'tis", "#1, 50 % ~ $5!", "null", "Übung", "1e3"]


def as_hydra_reads(word: str) -> object:
    return OverridesParser.create().parse_override(word).value()


def for_hydra(*words: str) -> list[str]:
    return words_for_hydra(words, "debug", "study")


def test_every_setting_of_a_folder_is_known():
    named = {key for key in all_keys(StudyRunConfig) if key.endswith(("dir", "root"))}
    assert named | {"features.source", "data.shards"} == PATH_SETTINGS


@given(st.text(AWKWARD, min_size=1, max_size=12))
@example("ends in \\")
@example("\\'")
def test_any_text_survives_quoting(text):
    assert as_hydra_reads(f"run_dir={quoted(text)}") == text


@pytest.mark.parametrize("key", sorted(PATH_SETTINGS))
@pytest.mark.parametrize("name", [f"/data/{name}" for name in NAMES] + ["it's", "a, b", "[x]"])
def test_a_folder_may_be_called_anything(key, name):
    (word,) = for_hydra(f"{key}={name}")
    assert as_hydra_reads(word) == name
    assert for_hydra(word) == [word]  # a process of a distributed run is given it again


@pytest.mark.parametrize("address", ["s3://bucket/a", "file:///a b"])
def test_an_address_keeps_its_slashes(address):
    (word,) = for_hydra(f"data.cache_dir={address}")
    assert as_hydra_reads(word) == address


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_hold_the_folder(name):
    words = for_hydra("data=folder", f"data.root=/data/{name}", f"runs_dir=/runs/{name}")
    config = compose_settings(words)
    assert (config.data.root, config.runs_dir) == (f"/data/{name}", f"/runs/{name}")


def test_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    (word,) = for_hydra("runs_dir=~/my runs")
    assert as_hydra_reads(word) == "/home/me/my runs"
    assert for_hydra("--config-dir", "~/mine") == ["--config-dir=/home/me/mine"]
    assert for_hydra("--config-dir=~/mine") == ["--config-dir=/home/me/mine"]
    assert [home_path(word) for word in ("~/a", "--into=~/a", "a~/b", "~x/a", "-m")] == [
        "/home/me/a", "--into=/home/me/a", "a~/b", "~x/a", "-m",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["~nobody-of-this-name", "a~b", "~"])
def test_a_tilde_that_is_no_home_is_a_name(name):
    (word,) = for_hydra(f"run_dir=/runs/{name}")
    assert as_hydra_reads(word) == f"/runs/{name}"


def test_flags_come_before_settings_and_keep_what_follows_them():
    words = ["seed=1", "--config-dir", "a=b", "~experiment", "--multirun", "experiment=B0,B3"]
    assert for_hydra(*words) == [
        "--config-dir=a=b", "--multirun", "seed=1", "~experiment", "experiment=B0,B3",
    ]  # fmt: skip


def test_several_folders_in_a_multirun():
    *_, word = for_hydra("--multirun", "data.root=/a b,/c=d")
    folders = OverridesParser.create().parse_override(word).sweep_iterator()
    assert [folder.text for folder in folders] == ["/a b", "/c=d"]


@pytest.mark.parametrize("value", ["Übung", "stüdie 1", "l'été", "C:\\Übung"])
def test_letters_beyond_ascii_reach_hydra_as_they_are(value):
    (word,) = for_hydra(f"about.method={value}")
    assert as_hydra_reads(word) == value


@pytest.mark.parametrize(
    "word",
    [
        "seed=1", "data.annotators=[ä,b]", "--help", "data.root='Übung'", 'run_dir="a b"',
        "run_dir=null", "runs_dir=${oc.env:HOME}/runs", "data.root=",
    ],
)  # fmt: skip
def test_what_hydra_reads_by_itself_is_left_alone(word):
    assert for_hydra(word) == [word]


def test_a_study_is_looked_for_under_its_own_name(tmp_path):
    study = tmp_path / "it's [one], $5 = 50 %"
    require_study([f"data.root={study}x,y", "--multirun"])
    require_study(["data.root=${oc.env:HOME}"])
    with pytest.raises(VaclipError, match="is this a study folder"):
        require_study([f"data.root={study}"])
    study.mkdir()
    (study / "study.yaml").touch()
    require_study([f"data.root={study}"])
