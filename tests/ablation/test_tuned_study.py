"""A study whose arms search their settings: the same budget for each, told in the report."""

from __future__ import annotations

import pandas as pd
import pytest

from conftest import write_tiny_study
from vaclip import VaclipError, keys
from vaclip.ablation.ablation import open_study_folder, plain_config, plan_study
from vaclip.ablation.estimate import training_seconds
from vaclip.ablation.job import run_job, save_job
from vaclip.ablation.pool import job_folder
from vaclip.compose import compose_settings
from vaclip.reports.page import write_report

OWN = """
# @package _global_
arm: B0_long
about:
  method: B0 with a longer search
  question: is it the search?
  cost: more
model:
  map_guided: false
loss:
  clip_weight: 0.0
tune:
  trials: 9
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Plans a study of some arms."""
    home = tmp_path_factory.mktemp("home")
    write_tiny_study(home / "data", patients_per_class=3)
    (home / "own/experiment").mkdir(parents=True)
    (home / "own/experiment/B0_long.yaml").write_text(OWN)
    words = [
        "study=smoke", "data=folder", f"data.root={home / 'data'}", "split.folds=3",
        f"data.cache_dir={home / 'cache'}", f"runs_dir={home / 'runs'}", "study.folds=[0]",
        "study.noise_arms=[]", "study.annotator_arms=[]", "trainer.accelerator=cpu",
        "trainer.max_epochs=1", "tune=small", "model.backbone_width=4",
    ]  # fmt: skip

    def planned(arms, *more):
        own = [*words, f"study.arms=[{arms}]", *more]

        def compose(arm, seed):
            composed = [*own, f"experiment={arm}", f"seed={seed}"]
            return plain_config(compose_settings(composed, "study", config_dir=home / "own"))

        return plan_study(compose_settings(own, "study", config_dir=home / "own"), compose)

    return planned


def test_each_arm_searches_as_long_and_the_report_says_what_was_chosen(plan):
    ablation = plan("B0,B3,K_withheld", "tune.trials=2")
    assert [job.config.arm for job in ablation.jobs] == ["B0", "B3"]
    open_study_folder(ablation)
    for job in ablation.jobs:
        save_job(job, job_folder(ablation.folder, job.name))
        run_job(job_folder(ablation.folder, job.name))
    assert ablation.complete() == list(ablation.jobs)
    ablation.collect(ablation.complete())
    trials = pd.read_csv(ablation.folder / keys.TRIALS_FILE)
    assert trials.groupby("arm").size().to_dict() == {"B0": 2, "B3": 2}
    page = write_report(ablation.folder).read_text("utf-8")
    for arm in ("B0", "B3"):
        chosen = trials[(trials["arm"] == arm) & trials["chosen"]].iloc[0]
        assert (
            f"Chosen on validation, from 2 trials a model: optim.lr {chosen['optim.lr']:g} (1); "
            f"optim.weight_decay {chosen['optim.weight_decay']:g} (1); "
            f"model.backbone_width {chosen['model.backbone_width']:g} (1)."
        ) in page
    file = job_folder(ablation.folder, ablation.jobs[0].name) / "fold_0" / keys.TRIALS_FILE
    file.write_text(file.read_text().replace("True", "False"))
    with pytest.raises(VaclipError, match=r"trials\.csv was changed or lost after its job"):
        ablation.complete()


def test_an_arm_with_a_longer_search_is_refused(plan):
    with pytest.raises(VaclipError, match=r"the arm B0_long has a search .* of its own"):
        plan("B0,B0_long", "study.roles.method=B0_long")


def test_the_estimate_counts_the_trials(plan, monkeypatch):
    monkeypatch.setattr("vaclip.ablation.estimate._START_S", 0.0)
    monkeypatch.setattr("vaclip.ablation.estimate.statistics.median", lambda times: 1.0)
    seconds = []
    for trials in (0, 4):
        ablation = plan("B0", f"tune.trials={trials}")
        seconds.append(training_seconds(ablation.jobs[0].config, ablation.prepared))
    assert seconds[1] == 5 * seconds[0] > 0
