"""The tables of scores and contrasts, and ``metrics.csv``; none names a patient or clip."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from vaclip.errors import counted
from vaclip.evaluation.cases import UNITS, Job, Unit
from vaclip.evaluation.compare import HEADLINE, Contrast, Score
from vaclip.evaluation.data_card import Reader
from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.follow import Following
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.labels import ALIGNMENT, AMONG, METRICS, PLACES, SIDES, titled
from vaclip.evaluation.roles import Roles
from vaclip.reports.gather import Arm, Source
from vaclip.reports.record import reader_accuracy, tuning_note
from vaclip.reports.typeset import MINUS, NONE, Table, interval_text, number, p_text

_DIAGNOSIS: Final = ("acc_macro", "acc_micro", "f1_macro", "auroc_macro", "auroc_micro")
_CALIBRATION: Final = ("ece", "brier", "log_loss")
_SIZE: Final = "Patients / seeds / folds"


def size_text(patients: int, jobs: Iterable[Job]) -> str:
    """Says how many patients, seeds and folds a number rests on."""
    jobs = list(jobs)
    folds, seeds = (len({job[side] for job in jobs}) for side in (0, 1))
    shown = f"{patients} / {seeds} / {folds}"
    whole = seeds * folds
    return shown if len(jobs) == whole else f"{shown}\n{len(jobs)} of {whole} models"


def score_text(score: Score) -> str:
    """Mean, spread over seeds where there is one, and the interval below."""
    mean = number(score.mean)
    if math.isfinite(score.sd):
        mean += f" ± {number(score.sd)}"
    low = interval_or_trained(score.interval, score.trained)
    return mean if low == NONE else f"{mean}\n{low}"


def interval_or_trained(interval: Interval, trained: Interval, *, sign: bool = False) -> str:
    """The interval; of a single model, which has none, that of these patients alone, named so."""
    found, alone = (interval_text(one, sign=sign) for one in (interval, trained))
    return f"{NONE}\n(this model: {alone})" if found == NONE != alone else found


def experiment_table(source: Source, results: Evaluation) -> Table:
    """The table of arms: ID, method, key switches, loss, metrics, notes."""
    rows = []
    for arm in source.arms:
        rows.append(
            (
                arm.arm,
                arm.method or NONE,
                arm.switches or NONE,
                arm.loss or NONE,
                _headline(source, results, arm.arm),
                _notes(arm, source) or NONE,
            )
        )
    return Table(
        "experiment",
        "The arms. Key switches: where an arm differs from the reference configuration. Metrics: "
        "balanced accuracy per patient, mean ± standard deviation over seeds, 95% interval over "
        "patients and trained models; then macro F1, macro AUROC; then patients / seeds / folds.",
        ("ID", "Method", "Key switches", "Loss", "Metrics", "Notes"),
        tuple(rows),
        frozenset({"Method", "Notes"}),
    )


def _headline(source: Source, results: Evaluation, arm: str) -> str:
    found = results.scores["patient"].get(arm)
    if found is None:
        return NONE
    f1, auroc = (number(found.scores[name].mean) for name in ("f1_macro", "auroc_macro"))
    size = size_text(found.patients, source.predictions.jobs[arm])
    return f"{score_text(found.scores[HEADLINE])}\nF1 {f1}, AUROC {auroc}\n{size}"


def _notes(arm: Arm, source: Source) -> str:
    tuning = tuning_note(source.trials, arm.arm)
    notes = [text for text in (arm.notes, arm.model, tuning) if text]
    if source.jobs is not None and "seconds" in source.jobs:
        seconds = source.jobs.loc[source.jobs["arm"] == arm.arm, "seconds"].median()
        notes += [] if math.isnan(seconds) else [f"A training and its tests: {seconds:.0f} s."]
    if arm.arm not in source.predictions.jobs:
        notes.append("No predictions: see the holes.")
    return "\n".join(notes)


def metric_tables(source: Source, results: Evaluation) -> list[Table]:
    """Diagnosis per patient and per clip."""
    said = (
        "mean ± standard deviation over seeds, below it the 95% interval of the training procedure "
        "on a cohort of this size; that of these trained models on new patients stands in "
        "metrics.csv"
    )
    readers = source.data_card.readers if source.data_card else ()
    rows = [_reader_row(reader) for reader in readers if reader.patients]
    more = (
        " Below the arms, what the annotators said who diagnosed the clips with vaclip annotate, "
        "with the interval of that reader on new patients."
        if rows
        else ""
    )
    patient, clip = (
        _metric_table(source, results, unit, f"Diagnosis per {unit}: {said}.") for unit in UNITS
    )
    return [replace(patient, caption=patient.caption + more, rows=(*patient.rows, *rows)), clip]


def _reader_row(reader: Reader) -> tuple[str, ...]:
    """What an annotator said, as an arm: of a diagnosis alone there is one score."""
    nothing = [NONE] * (len(_DIAGNOSIS) - 1)
    return (
        f"{reader.annotator} said",
        reader_accuracy(reader, "\n{}"),
        *nothing,
        str(reader.patients),
    )


def _metric_table(source: Source, results: Evaluation, unit: Unit, caption: str) -> Table:
    rows = [
        (
            arm,
            *(score_text(found.scores[name]) for name in _DIAGNOSIS),
            size_text(found.patients, source.predictions.jobs[arm]),
        )
        for arm, found in results.scores[unit].items()
    ]
    names = [titled(METRICS[name]) for name in _DIAGNOSIS]
    return Table(f"diagnosis_{unit}", caption, ("Arm", *names, _SIZE), tuple(rows))


def calibration_table(source: Source, results: Evaluation) -> Table:
    """How far the probabilities can be believed, per patient and per clip."""
    rows = [
        (
            arm,
            *(
                score_text(results.scores[unit][arm].scores[name])
                for unit in UNITS
                for name in _CALIBRATION
            ),
            size_text(found.patients, source.predictions.jobs[arm]),
        )
        for arm, found in results.scores["patient"].items()
    ]
    names = [f"{titled(METRICS[name])} per {unit}" for unit in UNITS for name in _CALIBRATION]
    return Table(
        "calibration",
        "Calibration: mean ± standard deviation over seeds, below it the 95% interval. Lower is "
        "better. ECE has no interval, because on few cases it is biased upwards by an unknown "
        "amount.",
        ("Arm", *names, _SIZE),
        tuple(rows),
    )


def family_title(results: Evaluation, name: str) -> str:
    """Says what the contrasts of a family have in common."""
    assert results.roles is not None, "without roles there are no contrasts"
    return {
        "primary": "The contrasts that the verdict rests on",
        "fusion": f"{results.roles.method} against the late fusion, which the verdict asks for too",
        "bedside": f"{results.roles.taught} against its controls, which the verdict asks for too",
        "baseline": f"Every other arm against {results.roles.baseline}",
        "named": "Pairs named beforehand",
        "controls": f"{results.roles.method} against the control arms",
    }[name]


def contrast_tables(source: Source, results: Evaluation) -> dict[str, Table]:
    """One table a family that has contrasts."""
    return {
        name: Table(
            f"contrasts_{name}",
            f"{family_title(results, name)}: difference in balanced accuracy per patient. Two "
            "questions, two 95% intervals: what the training procedure would reach on a cohort of "
            "this size, to which both p belong, and what these trained models would reach on new "
            f"patients. Holm's correction is over the {len(family)} contrasts of this table.",
            (
                "Contrast", "Difference", "The training procedure", "p", "p, Holm",
                "These trained models", "p, Nadeau and Bengio", _SIZE,
            ),
            tuple(_contrast_row(source, contrast) for contrast in family),
        )
        for name, family in results.families.items()
        if family
    }  # fmt: skip


def contrast_name(contrast: Contrast) -> str:
    """Names a contrast as what is subtracted from what."""
    return f"{contrast.first} {MINUS} {contrast.second}"


def _contrast_row(source: Source, contrast: Contrast) -> tuple[str, ...]:
    jobs = source.predictions.jobs
    size = size_text(contrast.patients, jobs[contrast.first] & jobs[contrast.second])
    if contrast.jobs < contrast.jobs_of_either:
        size = size.splitlines()[0] + f"\n{contrast.jobs} of {contrast.jobs_of_either} pairs"
    if contrast.identical:
        same = "0.000\nsame predictions"
        return (contrast_name(contrast), same, NONE, NONE, NONE, NONE, NONE, size)
    return (
        contrast_name(contrast),
        number(contrast.difference, sign=True),
        interval_text(contrast.interval, sign=True),
        p_text(contrast.p),
        p_text(contrast.p_holm),
        interval_text(contrast.trained, sign=True),
        p_text(contrast.resampled_t.p),
        size,
    )


def control_table(source: Source, results: Evaluation) -> Table | None:
    """The control arms: what each asks, and how the method stands against it."""
    if results.roles is None:
        return None
    against = [
        contrast
        for name in ("primary", "fusion", "controls")
        for contrast in results.families[name]
    ]
    found = {c.second: c for c in against if c.first == results.roles.method}
    rows = [
        (
            arm.arm,
            arm.question or NONE,
            score_text(results.scores["patient"][arm.arm].scores[HEADLINE]),
            _against(found.get(arm.arm)),
        )
        for arm in source.arms
        if arm.arm in results.roles.all_controls and arm.arm in results.scores["patient"]
    ]
    if not rows:
        return None
    if results.following:
        rows.append(_follow_row(results.following, results.roles))
    columns = ("Control", "Question", "Balanced accuracy", f"{results.roles.method} minus control")
    caption = "Control arms: their maps carry no clinical knowledge, or the video is left out."
    return Table("controls", caption, columns, tuple(rows), frozenset({"Question"}))


def _follow_row(found: Following, roles: Roles) -> tuple[str, str, str, str]:
    return (
        "Follow-the-map rate",
        f"Shown the map of a patient of another class ({roles.swapped}, {found.clips} clips of "
        f"{counted(found.patients, 'patient')}): how often does {roles.method} give that class, "
        "and how often with the own map (base rate)?",
        NONE,
        f"{number(found.difference, sign=True)}\n"
        f"{interval_or_trained(found.interval, found.trained, sign=True)}\n"
        f"rate {number(found.rate)}, base rate {number(found.base)}",
    )


def _against(contrast: Contrast | None) -> str:
    if contrast is None:
        return NONE
    shown = number(contrast.difference, sign=True)
    low = interval_text(contrast.interval, sign=True)
    return f"{shown}\n{low}, Holm p {p_text(contrast.p_holm)}"


def confusion_table(source: Source, results: Evaluation) -> Table:
    """The counts of the confusion matrices."""
    classes = source.predictions.classes
    rows = [
        (arm, label, *(str(int(count)) for count in counts))
        for arm, found in results.scores["patient"].items()
        for label, counts in zip(classes, found.confusion, strict=True)
    ]
    return Table(
        "confusion",
        "Confusion per patient: rows are labels, columns diagnoses, counts are summed over seeds.",
        ("Arm", "Label", *classes),
        tuple(rows),
    )


def retrieval_tables(source: Source, results: Evaluation) -> list[Table]:
    """Retrieval between videos and maps beside chance, among all clips and distinct maps."""
    tables = []
    for base, among in AMONG.items():
        columns = [f"{base}_{place}_{side}" for place in PLACES for side in SIDES]
        rows = []
        for arm in source.scored:
            own = results.retrieval.get(arm, {})
            found = [own.get(name) for name in columns]
            jobs = [own[n].jobs for n in columns if n in own and not n.endswith("chance")]
            if jobs:
                digits = [1 if "median_rank" in name else 3 for name in columns]
                cells = [
                    number(r.mean, d) if r else NONE for r, d in zip(found, digits, strict=True)
                ]
                rows.append((arm, *cells, str(max(jobs))))
        names = [f"{titled(place)}, {side}" for place in PLACES.values() for side in SIDES.values()]
        if rows:
            caption = (
                f"Retrieval on the test split among {among}: mean over the trained models that "
                "have it, whose number is in the last column."
            )
            columns = ("Arm", *names, "Models")
            tables.append(Table(base, caption, columns, tuple(rows)))
    return tables


def alignment_table(source: Source, results: Evaluation) -> Table:
    """How video-map similarity goes with being right."""
    rows = []
    for arm, found in results.scores["clip"].items():
        cells = [
            number(mean) + (f" ± {number(sd)}" if math.isfinite(sd) else "")
            for mean, sd in (found.alignment[name] for name in ALIGNMENT)
        ]
        rows.append((arm, *cells, size_text(found.patients, source.predictions.jobs[arm])))
    return Table(
        "alignment",
        "Cosine of video and map embedding per clip, mean ± standard deviation over seeds.",
        ("Arm", *map(titled, ALIGNMENT.values()), _SIZE),
        tuple(rows),
    )


def curve_table(source: Source, results: Evaluation) -> Table | None:
    """The points of the learning and noise curves."""
    curves = [("share of the training patients", results.learning)]
    curves += [(f"{kind} of the map", curve) for kind, curve in results.noise.items()]
    jobs = source.predictions.jobs
    rows = [
        (arm, axis, f"{value:g}", score_text(found.scores[HEADLINE]),
         size_text(found.patients, jobs.get(found.arm) or source.everything.jobs[found.arm]))
        for axis, curve in curves
        for arm, points in curve.items()
        for value, found in points
    ]  # fmt: skip
    if not rows:
        return None
    return Table(
        "curves",
        "Points of the curves: balanced accuracy per patient, mean ± standard deviation over "
        "seeds, below it the 95% interval.",
        ("Arm", "Axis", "Value", "Balanced accuracy", _SIZE),
        tuple(rows),
    )


def annotator_tables(source: Source, results: Evaluation) -> list[Table]:
    """Trained with one annotator's maps (rows), tested with another's (columns)."""
    tables = []
    for arm, cells in results.annotators.items():
        trained, tested = (sorted({pair[side] for pair in cells}) for side in (0, 1))
        rows = []
        for one in trained:
            shown = []
            for other in tested:
                found = cells.get((one, other))
                size = found and size_text(found.patients, source.everything.jobs[found.arm])
                shown.append(f"{score_text(found.scores[HEADLINE])}\n{size}" if found else NONE)
            rows.append((one, *shown))
        tables.append(
            Table(
                f"annotators_{len(tables) + 1}",
                f"{arm}, trained with one annotator's maps and tested with another's: balanced "
                "accuracy per patient, 95% interval, patients / seeds / folds.",
                ("Trained with", *(f"tested with {name}" for name in tested)),
                tuple(rows),
            )
        )
    return tables


def metrics_csv(results: Evaluation) -> str:
    """All scores in long form; undefined values are empty."""
    return results.frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
