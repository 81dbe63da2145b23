"""Settings composed in Python, with arms of one's own."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from vaclip.compose import arm_file, arm_names, compose_settings
from vaclip.config import Config
from vaclip.errors import VaclipError

OWN = "# @package _global_\ndefaults: [C1, _self_]\narm: MINE\noptim:\n  lr: 0.01\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "MINE.yaml").write_text(OWN)
    return tmp_path


def test_overrides_are_those_of_the_command_line():
    config = compose_settings(["experiment=B0", "data.frames=8", "data.annotators=[a,b]"])
    assert (config.arm, config.data.frames) == ("B0", 8)
    assert config.data.annotators == ["a", "b"]
    assert not config.model.map_guided


@pytest.mark.parametrize("name", ["a b", "it's", "x=1,(y)", "${z}", "Übung", "C:\\new"])
def test_a_study_folder_needs_no_quotes(name):
    data = compose_settings(root=name).data
    assert (data.source, data.root) == ("folder", name)


def test_an_arm_of_ones_own_may_build_on_another(mine):
    config = compose_settings(["experiment=MINE"], config_dir=mine)
    assert (config.arm, config.optim.lr) == ("MINE", 0.01)
    assert config.model.map_guided_type == "channel"
    assert set(arm_names(mine)) - set(arm_names()) == {"MINE"}
    assert arm_file("MINE", mine) == {"arm": "MINE", "optim": {"lr": 0.01}}


def test_an_arm_is_unknown_without_its_folder():
    with pytest.raises(VaclipError, match=r"no arm 'MINE'.*--config-dir"):
        compose_settings(["experiment=MINE"])
    with pytest.raises(VaclipError, match=r"no arm 'B33'\. Did you mean 'B3'\?"):
        arm_file("B33")


def test_the_first_line_of_an_arm_is_missing(mine):
    (mine / "experiment" / "MINE.yaml").write_text("arm: MINE\n")
    with pytest.raises(VaclipError, match=r"experiment/MINE.*begins with the line # @package"):
        compose_settings(["experiment=MINE"], config_dir=mine)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(VaclipError, match=r"there is no folder .*nowhere"):
        compose_settings(config_dir=tmp_path / "nowhere")


def test_another_hydra_is_neither_needed_nor_disturbed(tmp_path):
    assert not GlobalHydra.instance().is_initialized()
    assert compose_settings() == Config()
    assert not GlobalHydra.instance().is_initialized()
    (tmp_path / "config.yaml").write_text("theirs: 1\n")
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert compose_settings() == Config()
        assert hydra.compose("config") == {"theirs": 1}
