"""The report of a study: one self-contained page, its tables and its figures."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from vaclip import keys
from vaclip.errors import VaclipError, counted
from vaclip.evaluation.clinical import PREVALENCES
from vaclip.evaluation.compare import N_PERMUTATIONS, N_RESAMPLES
from vaclip.evaluation.evaluate import Evaluation, Progress, evaluate
from vaclip.evaluation.labels import LOOK_MAPS
from vaclip.evaluation.plan import plan_sentences
from vaclip.evaluation.predictions import Predictions
from vaclip.files import atomic_file, without_folder
from vaclip.keys import NOT_RECORDED
from vaclip.reports import outlook, record, tables
from vaclip.reports.cases import case_choices, gallery_cases, look_cases
from vaclip.reports.checklists import checklist
from vaclip.reports.clinical import CLINICAL_FIGURES, clinical_tables
from vaclip.reports.drawing import Figure, draw_figures
from vaclip.reports.figures import FIGURES
from vaclip.reports.gather import Source, read_folder, source_of, with_predictions
from vaclip.reports.look import LOOK_FIGURES, look_tables
from vaclip.reports.pseudonyms import Pseudonyms, pseudonyms
from vaclip.reports.site_tables import site_tables
from vaclip.reports.templating import page_templates, source_text
from vaclip.reports.typeset import Table, latex, markdown
from vaclip.reports.verdict_figure import VERDICT_FIGURES

PAGE: Final = "report.html"
_SECTIONS: Final = {
    "arms": "The arms",
    "contrasts": "Contrasts",
    "controls": "Control arms",
    "curves": "Less data, worse maps",
    "calibration": "Calibration",
    "confusion": "Confusion",
    "clinical": "Clinical use",
    "retrieval": "Retrieval and alignment",
    "agreement": "Agreement of the annotators",
    "look": "Where models look",
    "gallery": "Cases",
    "data": "Data card",
    "holes": "Holes",
    "experiment": "The experiment",
    "methods": "Methods",
    "versions": "Settings and versions",
}


@dataclass(frozen=True)
class Tables:
    """All tables of a report; None where there is nothing to show."""

    experiment: Table
    metrics: list[Table]
    sites: list[Table]
    contrasts: dict[str, Table]
    controls: Table | None
    curves: Table | None
    outlook: list[Table]
    calibration: Table
    confusion: Table
    clinical: dict[str, Table]
    retrieval: list[Table]
    alignment: Table
    agreement: Table | None
    readers: Table | None
    annotators: list[Table]
    look: dict[str, Table]
    classes: Table | None
    annotated: Table | None
    excluded: Table | None
    findings: Table | None
    holes: Table | None

    def without_ids(self) -> list[Table]:
        """Those that name no patient or clip, whatever ids were asked for."""
        several = [self.experiment, *self.metrics, *self.contrasts.values(), self.controls]
        several += [self.curves, *self.outlook, self.calibration, self.confusion]
        several += [*self.clinical.values(), *self.retrieval]
        several += [
            self.alignment,
            self.agreement,
            self.readers,
            *self.annotators,
            self.classes,
            self.annotated,
        ]
        several += [*self.sites, *self.look.values()]
        return [table for table in several if table is not None]


def write_report(
    source: str | Path | Predictions,
    out: str | Path | None = None,
    *,
    baseline: str | None = None,
    method: str | None = None,
    prevalences: Sequence[float] = PREVALENCES,
    real_ids: bool = False,
    n_resamples: int = N_RESAMPLES,
    n_permutations: int = N_PERMUTATIONS,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Writes a report from a folder or predictions alone, the same bytes for the same input.

    Args:
        source: What ``vaclip study`` or ``vaclip train`` left, or predictions of any model.
        out: Gets ``report.html``, ``tables.md``, ``tables.tex``, ``metrics.csv``,
            ``checklist.md`` and ``figures/``; by default ``report`` in the folder.
        baseline: The arm that everything is measured against; with ``method``, in place of the
            roles that the folder names.
        method: The arm that is put forward.
        prevalences: Of each class, for predictive values beside those at its share here.
        real_ids: Whether the page shows the ids of patients and clips and why jobs failed, and
            not pseudonyms.
        n_resamples: Of the bootstrap.
        n_permutations: Of the permutation test.
        progress: Told how many steps are done and how many there are.

    Returns:
        The page.

    Raises:
        VaclipError: If there are no predictions, or a file is damaged.

    Examples:
        >>> write_report("nowhere")
        Traceback (most recent call last):
        vaclip.errors.VaclipError: nowhere has no predictions.parquet; give the folder that ...
    """
    out, found = _opened(source, out)
    results = evaluate(
        found.everything,
        baseline=baseline,
        method=method,
        roles=found.roles,
        arms=found.scored,
        blinding=found.data_card.blinding if found.data_card else NOT_RECORDED,
        look=found.look,
        prevalences=prevalences,
        n_resamples=n_resamples,
        n_permutations=n_permutations,
        progress=progress,
    )
    found = with_predictions(found, results.predictions)
    figures = draw_figures(
        found,
        results,
        out / "figures",
        VERDICT_FIGURES | FIGURES | CLINICAL_FIGURES | LOOK_FIGURES,
    )
    own = _tables(found, results, real_ids=real_ids)
    page = _page(
        found, results, own, figures,
        real_ids=real_ids, n_resamples=n_resamples,
    )  # fmt: skip
    without_ids = own.without_ids()
    texts = {
        "tables.md": markdown(without_ids),
        "tables.tex": latex(without_ids),
        "metrics.csv": tables.metrics_csv(results),
        "checklist.md": checklist(found, results),
        PAGE: page,
    }
    for name, text in texts.items():
        with atomic_file(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return out / PAGE


def _opened(source: str | Path | Predictions, out: str | Path | None) -> tuple[Path, Source]:
    """Returns where a report goes, and what it is made from."""
    if isinstance(source, Predictions):
        if out is None:
            raise VaclipError("name the folder that the report of these predictions goes to")
        out, found = Path(out), source_of(source)
    else:
        folder = Path(source)
        out = folder / "report" if out is None else Path(out)
        found = read_folder(folder)
    if out.exists() and not out.is_dir():
        raise VaclipError(f"{out} is a file; name a folder for the report")
    return out, found


def _tables(source: Source, results: Evaluation, *, real_ids: bool) -> Tables:
    card = source.data_card
    excluded = [clip.clip_id for clip in card.excluded] if card else []
    names = _names(source, excluded, real_ids=real_ids)
    return Tables(
        experiment=tables.experiment_table(source, results),
        metrics=tables.metric_tables(source, results),
        sites=site_tables(results.sites, len(source.predictions.classes)),
        contrasts=tables.contrast_tables(source, results),
        controls=tables.control_table(source, results),
        curves=tables.curve_table(source, results),
        outlook=outlook.outlook_tables(results),
        calibration=tables.calibration_table(source, results),
        confusion=tables.confusion_table(source, results),
        clinical=clinical_tables(results),
        retrieval=tables.retrieval_tables(source, results),
        alignment=tables.alignment_table(source, results),
        agreement=record.agreement_table(card) if card else None,
        readers=record.reader_table(card) if card else None,
        annotators=tables.annotator_tables(source, results),
        look=look_tables(results.looks),
        classes=record.class_table(card) if card else None,
        annotated=record.annotator_table(card) if card else None,
        excluded=record.excluded_table(card, names) if card else None,
        findings=record.findings_table(card, names) if card else None,
        holes=record.holes_table(source, reasons=real_ids),
    )


def _names(source: Source, excluded: Sequence[str] = (), *, real_ids: bool) -> Pseudonyms:
    return pseudonyms(source.clips, excluded, seed=source.secret, real=real_ids)


def _page(
    source: Source,
    results: Evaluation,
    found: Tables,
    figures: Mapping[str, Figure],
    *,
    real_ids: bool,
    n_resamples: int,
) -> str:
    environment = page_templates("vaclip.reports")
    environment.filters["hashed"] = lambda text: base64.b64encode(
        hashlib.sha256(text.encode()).digest()
    ).decode()
    css, player, tools = (
        source_text(environment, name) for name in ("report.css", "player.js", "report.js")
    )
    names = _names(source, real_ids=real_ids)
    cases = gallery_cases(source, names)
    seeds = {seed for jobs in source.predictions.jobs.values() for _, seed in jobs}
    return environment.get_template("report.html.j2").render(
        title=source.predictions.study,
        extent=_extent(source, "class", "arm", "seed", "fold"),
        size=_extent(source, "seed", "fold"),
        verdict=results.verdict,
        plan=plan_sentences(source.plans, results.roles),
        sections=_SECTIONS,
        one_seed=len(seeds) == 1,
        case_note=source.predictions.case_note,
        t=found,
        figures=figures,
        gallery=source.gallery,
        cases=cases,
        case_choices=case_choices(cases),
        look=source.look_cases,
        look_cases=look_cases(source, names),
        look_maps=LOOK_MAPS,
        facts=record.card_facts(source.data_card) if source.data_card else None,
        arms=list(results.scores["patient"]),
        jobs=_jobs(source),
        partial=_jobs(source) if _is_partial(source) else None,
        n_resamples=f"{n_resamples:,}",
        config=source.config if real_ids else _without_places(source.config),
        environment=_pretty(source.environment, real_ids=real_ids),
        names_note="Patients and clips bear their own ids."
        if real_ids
        else "Patients and clips bear pseudonyms, the same throughout this report.",
        css=css,
        js=f"{player}\n{tools}",
    )


def _extent(source: Source, *what: str) -> str:
    """How much was tested, in a line."""
    jobs = set().union(*source.predictions.jobs.values())
    folds, seeds = (len({job[side] for job in jobs}) for side in (0, 1))
    counts = {
        "class": len(source.predictions.classes),
        "arm": len(source.arms),
        "seed": seeds,
        "fold": folds,
    }
    tested = source.predictions.clips[keys.PRED_PATIENT].nunique()
    patients = counted(tested, "patient")
    if source.data_card and tested < (everyone := source.data_card.patients):
        patients = f"{tested} of {everyone} patients tested"
    return ", ".join([patients, *(counted(counts[name], name) for name in what)])


def _jobs(source: Source) -> str | None:
    if source.jobs is None:
        return None
    done = int((source.jobs["state"] == "done").sum())
    return f"{done} of {len(source.jobs)} planned jobs are done."


def _is_partial(source: Source) -> bool:
    return source.jobs is not None and bool((source.jobs["state"] != "done").any())


def _without_places(config: str | None) -> str | None:
    """Leaves out of the settings where things lie: a path may name a person or a hospital."""
    if config is None:
        return None
    settings = yaml.safe_load(config)
    for key in ("run_dir", "runs_dir"):
        settings.pop(key, None)
    if features := settings.get("features"):
        features["source"] = without_folder("features.source", features["source"])
    data = settings.get("data", {})
    data.pop("cache_dir", None)
    if data.get("root"):
        data["root"] = Path(data["root"]).name
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _pretty(environment: dict[str, Any] | None, *, real_ids: bool) -> str | None:
    if environment is None:
        return None
    shown = {key: value for key, value in environment.items() if real_ids or key != "command"}
    return json.dumps(shown, indent=2, ensure_ascii=False)
