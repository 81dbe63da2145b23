"""What there is to choose from and to set, as a person asks for it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from importlib import resources

import pytest

import vaclip
from vaclip.commands.main import main
from vaclip.commands.settings import setting_comments
from vaclip.compose import arm_names
from vaclip.config import StudyRunConfig, all_keys


def said(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_version(capsys):
    version = said(capsys, "--version").split()[1]
    assert version == vaclip.__version__ == importlib.metadata.version("vaclip")


def test_every_arm_is_listed_with_what_it_is_for(capsys, tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "MINE.yaml").write_text("# @package _global_\narm: MINE\n")
    text = said(capsys, "arms", "--config-dir", str(tmp_path))
    listed = re.findall(r"^(\w+) {2,}\S", text, re.M)
    assert listed == sorted([*arm_names(), "MINE"])
    told = " ".join(text.split())  # lines are as wide as the first console was
    assert "B4 the full method + token-level loss" in told
    assert "does it help to pool the video where the clinicians looked?" in told
    assert "Cost: about 0.4 x the full method (B3)." in told


def test_every_setting_has_a_comment():
    comments = setting_comments()
    assert [key for key in all_keys(StudyRunConfig) if not comments[key]] == []
    assert comments["data.frames"] == "samples a segment"
    assert comments["data.control"].endswith("random (smooth noise)")  # goes on in a second line
    assert comments["split.seed"] == "of dealing the patients"  # not the one of a study's preset
    assert comments["study.noise"].startswith("of the maps at test")


def test_a_setting_is_shown_with_its_default_its_comment_and_its_range(capsys, monkeypatch):
    monkeypatch.setattr("vaclip.console.console.width", 200)
    text = " ".join(said(capsys, "config", "optim.warmup_share").split())
    assert text.startswith("optim.warmup_share=0.1 of all steps")
    assert "It must be in [0, 1)." in text
    group = said(capsys, "config", "data.augment")
    assert [line.split("=")[0] for line in group.splitlines()] == [
        f"data.augment.{name}" for name in ("enabled", "crop", "brightness", "contrast", "flip")
    ]
    everything = said(capsys, "config")
    assert all(f"\n{key}=" in f"\n{everything}" for key in all_keys(StudyRunConfig))
    assert "data.root=null" in everything


def test_a_setting_that_there_is_not(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["config", "optim.rl"])
    assert stopped.value.code == 1
    assert "Did you mean 'optim.lr'?" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "group"), [("train", "debug"), ("study", "study")])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_has_examples_and_names_the_presets(capsys, command, group, flag):
    text = said(capsys, command, flag)
    for preset in (resources.files("vaclip.conf") / group).iterdir():
        assert f"{group}={preset.name.removesuffix('.yaml')}" in text
    for hint in ("vaclip arms", "vaclip config", "--hydra-help", "--config-dir", "--cfg job"):
        assert hint in text
    assert "_sampling" not in text


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["train", "study=smoke", "--cfg", "job"], "limit_train_batches: 2"),
        (["study", "debug=smoke", "--cfg", "job"], "limit_train_batches: 2"),
        (["study", "study=quick", "--cfg", "job", "seed=3"], "method: B3"),  # a flag in between
        (["train", "--hydra-help"], "--info"),
    ],
)
def test_presets_have_the_same_names_and_flags_of_hydra_work(tmp_path, words, shown):
    done = subprocess.run(
        [sys.executable, "-m", "vaclip", *words],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [("vaclip tr", {"train"}), ("vaclip train data.fra", {"data.frames="}),
     ("vaclip study study.ro", {"study.roles.method="}), ("vaclip data re", {"reencode"})],
)  # fmt: skip
def test_the_shell_completes(line, expected):
    pytest.importorskip("argcomplete")
    environment = {
        **os.environ, "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line,
        "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout",
    }  # fmt: skip
    code = "import sys; sys.argv = ['vaclip']; from vaclip.commands.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert expected <= set(done.stdout.splitlines())
