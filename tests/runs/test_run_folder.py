"""Which folder a run gets, and that it has it, and its process, to itself."""

from __future__ import annotations

import dataclasses
import logging

import pytest
from lightning.pytorch.utilities import rank_zero_only

from composed import make_config
from vaclip import VaclipError
from vaclip.console import console, say, speak
from vaclip.data.datamodule import allow_open_files
from vaclip.runs.folder import open_run_folder
from vaclip.runs.trainer import fold_trainer, silent_trainer


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setenv("VACLIP_RUN_DIR", "")
    monkeypatch.delenv("LOCAL_RANK", raising=False)


@pytest.mark.parametrize("again", [{"resume": True}, {"resume": False}])
def test_two_processes_cannot_have_one_folder(tmp_path, again):
    config = make_config(tmp_path, f"run_dir={tmp_path}/run")
    with open_run_folder(config), pytest.raises(VaclipError, match="run by another process"):
        open_run_folder(dataclasses.replace(config, **again)).__enter__()
    with open_run_folder(dataclasses.replace(config, resume=True)) as folder:
        assert folder == tmp_path / "run"


def test_a_job_goes_on_where_it_was_begun(tmp_path):
    config = make_config(tmp_path, f"run_dir={tmp_path}/run")
    for _ in range(2):
        with open_run_folder(config, go_on=True) as folder:
            assert (folder / "config.yaml").is_file()
    changed = dataclasses.replace(config, seed=7)
    with pytest.raises(VaclipError, match="other settings: seed"):
        open_run_folder(changed, go_on=True).__enter__()


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe", b"", b"- a list", b"data: 1\n1: 2", b"arm: B3"]
)
def test_the_damaged_folder_of_another_run_does_not_stop_a_resume(tmp_path, caplog, content):
    with open_run_folder(make_config(tmp_path)) as begun:
        pass
    newer = tmp_path / "9999-01-01_00-00-00_B3"
    newer.mkdir()
    (newer / "config.yaml").write_bytes(content)
    caplog.set_level(logging.WARNING)
    with open_run_folder(make_config(tmp_path, "resume=true")) as folder:
        assert folder == begun
    assert ("left out" in caplog.text) == (content in (b"{", b"\xff\xfe"))


SLURM = {
    "tasks alone": {"SLURM_NTASKS": "4"},
    "another task": {"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1",
                     "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_NODEID": "1"},
    "per node, as text": {"SLURM_NTASKS": "3", "SLURM_NTASKS_PER_NODE": "2(x1),1"},
    "srun in a batch": {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "x", "SLURM_NODELIST": "n[1-9]"},
}  # fmt: skip


@pytest.mark.parametrize("variables", SLURM.values(), ids=SLURM)
def test_slurms_variables_are_no_matter_to_one_device(tmp_path, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", int(variables.get("SLURM_PROCID", 0)))
    config = make_config(tmp_path)
    for trainer in (fold_trainer(config, tmp_path), silent_trainer(config)):
        assert (trainer.world_size, trainer.global_rank, trainer.is_global_zero) == (1, 0, True)
    assert rank_zero_only.rank == 0


@pytest.mark.parametrize(
    ("limits", "then"), [((64, 4096), 384), ((512, 4096), 512), ((64, 64), None), ((-1, -1), -1)]
)
def test_loader_processes_get_their_open_files(monkeypatch, limits, then):
    resource = pytest.importorskip("resource")
    now = [limits]
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: now.append(new))
    allow_open_files(0)
    assert now == [limits]
    if then is None:
        with pytest.raises(VaclipError, match=r"num_workers=4 needs 384 open files.* allows 64"):
            allow_open_files(4)
    else:
        allow_open_files(4)
        assert now[-1] == (then, limits[1])


def test_a_folder_is_named_as_it_is(capsys):
    speak()
    say("Run folder: a [b] [/c] [red]")
    assert capsys.readouterr().out == "Run folder: a [b] [/c] [red]\n"
    console.quiet = True
