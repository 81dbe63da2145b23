"""One job of a study, in a folder of its own."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaclip import keys
from vaclip.ablation.plan import Job, folder_name
from vaclip.config import Config
from vaclip.errors import VaclipError
from vaclip.evaluation.embeddings import FOLDER as EMBEDDINGS
from vaclip.files import atomic_file, content_digest, read_json, write_json
from vaclip.runs.folder import checkpoint_path, compared_settings, fold_folder, unequal_keys
from vaclip.runs.run import finish_run, open_run, retest_fold

SPEC_FILE = "job.yaml"
DONE_FILE = "done.json"


def arm_folder(folder: Path, job: Job, arm: str) -> Path:
    """Returns where a job's folder holds the prediction table of an arm or variant."""
    if arm == job.config.arm:
        return fold_folder(folder, job.fold)
    return folder / "tests" / folder_name(arm)


def save_job(job: Job, folder: Path) -> None:
    """Writes what a job is to its folder; one that was done otherwise is to be finished anew."""
    (folder / DONE_FILE).unlink(missing_ok=True)
    content = {
        "name": job.name,
        "config": dataclasses.asdict(job.config),
        "tests": [dataclasses.asdict(test) for test in job.tests],
    }
    with atomic_file(folder / SPEC_FILE) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def load_job(folder: Path) -> Job:
    """Reads what `save_job` wrote.

    Raises:
        VaclipError: If it is damaged.
    """
    try:
        content = yaml.safe_load((folder / SPEC_FILE).read_text(encoding="utf-8"))
        tests = tuple(map(_config, content["tests"]))
        return Job(content["name"], _config(content["config"]), tests)
    except (ValueError, TypeError, LookupError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise _damaged(folder, SPEC_FILE) from error


def _damaged(folder: Path, name: str) -> VaclipError:
    return VaclipError(
        f"{folder / name} was damaged after its job was done; delete {folder}, and the study makes "
        "it anew"
    )


def _config(content: dict[str, Any]) -> Config:
    merged = OmegaConf.merge(OmegaConf.structured(Config), content)
    return cast(Config, OmegaConf.to_object(merged))


def run_job(folder: Path) -> None:
    """Trains a job's model, or goes on training it, and makes all of its tests.

    Raises:
        VaclipError: For what the user can mend, and where another process runs the job.
    """
    started = time.monotonic()
    job = load_job(folder)
    config = replace(job.config, run_dir=str(folder))
    with open_run(config, workers=1, go_on=True) as opened:
        finish_run(opened)
        for test in job.tests:
            retest_fold(opened, test, job.fold, arm_folder(folder, job, test.arm))
        _finish(job, folder, time.monotonic() - started)


def _finish(job: Job, folder: Path, seconds: float) -> None:
    # As large as the best one, and of no more use.
    checkpoint_path(fold_folder(folder, job.fold), "last").unlink(missing_ok=True)
    files = {
        path.relative_to(folder).as_posix(): content_digest(path)
        for path in _artefacts(job, folder)
    }
    write_json(folder / DONE_FILE, {"seconds": round(seconds, 1), "files": files})


def _artefacts(job: Job, folder: Path) -> list[Path]:
    places = [arm_folder(folder, job, arm) for arm in job.arms]
    names = (keys.PREDICTIONS_FILE, keys.FOLD_METRICS_FILE)
    return [
        folder / SPEC_FILE,
        folder / keys.CONFIG_FILE,
        checkpoint_path(fold_folder(folder, job.fold), "best"),
        *fold_folder(folder, job.fold).glob(keys.TRIALS_FILE),
        *(place / name for place in places for name in names),
        *(file for place in places for file in sorted((place / EMBEDDINGS).glob("*.npz"))),
    ]


def is_complete(job: Job, folder: Path) -> bool:
    """Whether a job was run to its end, as it is now planned, and nothing of it was lost.

    Where the data lie is no matter: what they are is compared for the whole study.

    Raises:
        VaclipError: If one of its files was changed since.
    """
    done = folder / DONE_FILE
    if not done.exists() or changes_since(job, folder):
        return False
    for name, digest in _read_done(folder)["files"].items():
        path = folder / name
        if not path.exists() or content_digest(path) != digest:
            raise VaclipError(
                f"{path} was changed or lost after its job was done; delete {folder}, and the "
                "study makes it anew"
            )
    return True


def changes_since(job: Job, folder: Path) -> list[str]:
    """Returns why a finished job has to run again, a phrase each; empty where it is as planned."""
    if not (folder / DONE_FILE).exists():
        return []
    before = load_job(folder)
    found = _changes(before.config, job.config)
    old, new = ({test.arm: test for test in one.tests} for one in (before, job))
    found += [f"{arm} is tested too" for arm in new if arm not in old]
    found += [f"{arm} is not tested any more" for arm in old if arm not in new]
    for arm, test in new.items():
        found += [f"in {arm} {change}" for change in _changes(old.get(arm, test), test)]
    return found


def _changes(before: Config, now: Config) -> list[str]:
    old, new = (compared_settings(dataclasses.asdict(config)) for config in (before, now))
    return [f"{key} was {old.get(key)}, and is {new.get(key)}" for key in unequal_keys(old, new)]


def seconds_taken(folder: Path) -> float:
    """Returns how long the last process of a finished job took."""
    return float(_read_done(folder)["seconds"])


def _read_done(folder: Path) -> dict[str, Any]:
    content = read_json(folder / DONE_FILE, str(folder / DONE_FILE))
    if not isinstance(content, dict) or not {"seconds", "files"} <= content.keys():
        raise _damaged(folder, DONE_FILE)
    return content
