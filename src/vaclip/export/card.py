"""MODEL_CARD.md: what a model is good for, from what its run and study left, without inventions."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from vaclip import keys
from vaclip.data.splits import SplitPlan
from vaclip.errors import VaclipError
from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.data_card import DataCard
from vaclip.evaluation.estimates import Estimate
from vaclip.evaluation.evaluate import Evaluation, evaluate
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.labels import METRICS, titled
from vaclip.evaluation.thresholds import validation_thresholds
from vaclip.export.check import Difference
from vaclip.export.limits import limits, never_tested
from vaclip.export.trained import TrainedFold
from vaclip.files import read_json
from vaclip.keys import NOT_RECORDED
from vaclip.reports.gather import Source, read_folder
from vaclip.reports.record import card_facts
from vaclip.reports.site_tables import site_tables
from vaclip.reports.typeset import Table, interval_text, markdown, markdown_text, number

TODO: Final = "TODO-by-author"
_SCORED: Final = (HEADLINE, "auroc_macro", "log_loss", "brier", "ece")
_HUB_METRICS: Final = {
    HEADLINE: "balanced_accuracy",
    "auroc_macro": "roc_auc",
    "brier": "brier_score",
}
_OF_MODELS: Final = "95% interval, these models on new patients"
_OF_TRAINING: Final = "95% interval, trained anew on such a cohort"


def judged(
    trained: TrainedFold,
    study: Path | None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Source, Evaluation]:
    """Reads and evaluates what is known of a model: of its study, or of its run alone.

    Args:
        trained: The model.
        study: What ``vaclip study`` wrote, if the run is a job of it.
        progress: Called with (done, total) steps.

    Raises:
        VaclipError: If its predictions are not there.
    """
    folder = trained.run if study is None else study
    source = read_folder(folder)
    if trained.arm not in source.predictions.jobs:
        raise VaclipError(
            f"{folder / keys.PREDICTIONS_FILE} has nothing of {trained.arm}, whose model is "
            "exported; finish the study first"
        )
    results = evaluate(
        source.everything,
        roles=source.roles,
        arms=source.scored,
        blinding=source.data_card.blinding if source.data_card else NOT_RECORDED,
        look=source.look,
        n_resamples=1,  # the card shows nothing that is drawn
        n_permutations=0,
        progress=progress,
    )
    return source, results


def card_text(
    trained: TrainedFold,
    settings: dict[str, Any],
    difference: Difference,
    source: Source,
    results: Evaluation,
) -> str:
    """Returns the text of the model card.

    Args:
        trained: The model.
        settings: Of model.json.
        difference: How far the exported model is from the test table.
        source: Of `judged`.
        results: Likewise.
    """
    templates = Environment(
        loader=PackageLoader("vaclip.export"),
        autoescape=False,  # it is Markdown, and names go through `text`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"text": markdown_text, "titled": titled}
    size, own = results.scores["patient"][trained.arm], _own_test(trained)
    about = next((arm for arm in source.arms if arm.arm == trained.arm), None)
    return templates.get_template("MODEL_CARD.md.j2").render(
        front=yaml.safe_dump(_front(trained, results), sort_keys=False, allow_unicode=True),
        s=settings,
        method=about.method if about and about.method else str(_said(trained, "method")),
        seconds=number(settings["frames"] / settings["fps"], 1),
        generated=trained.config["data"]["source"] == "synthetic_gait",
        data=markdown(_data_tables(trained, source.data_card)),
        verdict=results.verdict,
        asked=source.roles is not None,
        models=size.jobs,
        patients=size.patients,
        own_patients=own[0],
        own_accuracy=number(own[1]),
        scores=markdown([_scores(results, trained.arm)]),
        points=markdown([_points(results, trained)]),
        calibration=markdown([_calibration(results, trained.arm)]),
        sites=markdown(site_tables(results.sites, len(settings["classes"]))[:1]),
        limits=limits(trained, settings, source.data_card),
        never=never_tested(trained, results.sites is not None),
        difference=str(difference),
        todo=TODO,
    )


def _said(trained: TrainedFold, name: str) -> Any:
    return (trained.config.get("about") or {}).get(name) or "not described"


def _own_test(trained: TrainedFold) -> tuple[int, float]:
    """Returns how many patients the very model was tested on, and its balanced accuracy."""
    plan = SplitPlan.load(trained.run / keys.PLAN_FILE)
    path = trained.folder / keys.FOLD_METRICS_FILE
    value = read_json(path, path.name)["test"].get(f"test/patient/{HEADLINE}")
    return len(plan.folds[trained.fold]["test"]), math.nan if value is None else float(value)


def _front(trained: TrainedFold, results: Evaluation) -> dict[str, Any]:
    """Returns the front matter that Hugging Face reads."""
    scores = results.scores["patient"][trained.arm].scores
    name = (
        f"{results.predictions.study}-{trained.arm}-fold{trained.fold}-seed{trained.config['seed']}"
    )
    found = [
        {"type": kind, "value": round(scores[metric].mean, 4), "name": METRICS[metric]}
        for metric, kind in _HUB_METRICS.items()
        if math.isfinite(scores[metric].mean)
    ]
    return {
        "license": "other",
        "license_name": TODO,
        "library_name": "vaclip",
        "pipeline_tag": "video-classification",
        "tags": ["medical", "video", "attention-maps", "onnx"],
        "metrics": list(_HUB_METRICS.values()),
        "model-index": [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": "video-classification"},
                        "dataset": {"name": results.predictions.study, "type": TODO},
                        "metrics": found,
                    }
                ],
            }
        ],
    }


def _data_tables(trained: TrainedFold, card: DataCard | None) -> list[Table]:
    if card is None:
        path = trained.run / keys.STUDY_FILE
        told = read_json(path, path.name)
        counts = {
            "Study": told["name"],
            "Patients": told["patients"],
            "Clips": told["clips"],
            "Annotators": len(told["annotators"]),
            "Classes": ", ".join(told["classes"]),
            "Hash of the content": told["content_hash"],
        }
        rows = tuple((name, str(value)) for name, value in counts.items())
        caption = "What the run kept of its study; vaclip data describe tells more."
        return [Table("data", caption, ("What", "How much"), rows)]
    facts = (*card_facts(card), ("Annotators", str(len(card.annotators))))
    classes = tuple((one.class_, str(one.patients), str(one.clips)) for one in card.per_class)
    findings = tuple((own.severity, own.subject, own.what) for own in card.findings)
    tables = [
        Table("data", "The study.", ("What", "How much"), facts),
        Table("classes", "Its classes.", ("Class", "Patients", "Clips"), classes),
    ]
    if findings:
        columns = ("Severity", "About", "Found")
        tables.append(Table("findings", "What may mislead.", columns, findings))
    return tables


def _scores(results: Evaluation, arm: str) -> Table:
    scores = results.scores["patient"][arm].scores
    rows = tuple(
        (METRICS[name], number(score.mean), *_intervals(score.trained, score.interval))
        for name in _SCORED
        for score in [scores[name]]
    )
    return Table("scores", "Per patient.", ("Measure", "Value", _OF_MODELS, _OF_TRAINING), rows)


def _points(results: Evaluation, trained: TrainedFold) -> Table:
    use = results.clinical[trained.arm]
    own = results.predictions.only(lambda arm: arm == trained.arm)
    job = (trained.fold, int(trained.config["seed"]))
    cuts = validation_thresholds(own, trained.arm).get(job)
    rows = []
    for k, (label, found) in enumerate(use.classes.items()):
        point = found.validated
        cut = math.nan if cuts is None else float(cuts[k])
        rows.append(
            (label, number(cut), _estimate(point.sensitivity), _estimate(point.specificity))
        )
    caption = (
        "Each class against the rest, per patient, called at the threshold that each model chose "
        "on its own validation patients. Below each value: the 95% interval of these models on new "
        "patients; the threshold is this very model's."
    )
    columns = ("Class", "Threshold of this model", "Sensitivity", "Specificity")
    return Table("points", caption, columns, tuple(rows))


def _calibration(results: Evaluation, arm: str) -> Table:
    rows = tuple(
        (label, _estimate(found.intercept, sign=True), _estimate(found.slope))
        for label, found in results.clinical[arm].classes.items()
    )
    caption = (
        "Logistic recalibration per patient, each class against the rest, with the 95% interval of "
        "these models on new patients. Intercept: 0 is right, above 0 the class is commoner than "
        "its probabilities say. Slope: 1 is right, below 1 the probabilities are too extreme."
    )
    return Table("calibration", caption, ("Class", "Intercept", "Slope"), rows)


def _intervals(*intervals: Interval) -> tuple[str, ...]:
    return tuple(interval_text(own) for own in intervals)


def _estimate(found: Estimate, *, sign: bool = False) -> str:
    return f"{number(found.value, sign=sign)}\n{interval_text(found.trained, sign=sign)}"
