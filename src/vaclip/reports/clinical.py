"""The tables and figures of clinical use, each class against the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from vaclip.evaluation.clinical import RISK_CURVE, RISKS, NetBenefit
from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.evaluate import Evaluation
from vaclip.reports.abstention import ABSTENTION_FIGURES, abstention_table, estimate_text
from vaclip.reports.drawing import GREY, INK, PALE, Drawing, panels
from vaclip.reports.gather import Source
from vaclip.reports.svg import mark
from vaclip.reports.tables import score_text
from vaclip.reports.typeset import NONE, Table, number

_BELOW: Final = "below each the 95% interval"


def clinical_tables(results: Evaluation) -> dict[str, Table]:
    """By name; those in ``_others`` are of the arms that are neither baseline nor method."""
    builders = {
        "operating_points": _operating_points,
        "predictive_values": _predictive_values,
        "recalibration": _recalibration,
    }
    others = [arm for arm in results.clinical if arm not in results.shown]
    tables = {"cuts": _cuts(results)}
    for name, build in builders.items():
        tables[name] = build(results, name, results.shown)
        if others:
            rest = build(results, f"{name}_others", others)
            tables[rest.name] = replace(rest, caption=f"The other arms. {rest.caption}")
    return tables | {
        "net_benefit": _net_benefit(results),
        "abstention": abstention_table(results),
    }


def _cuts(results: Evaluation) -> Table:
    rows = [
        (
            arm,
            score_text(results.scores["patient"][arm].scores[HEADLINE]),
            estimate_text(found.balanced),
            f"{found.balanced_models} of {found.models}",
        )
        for arm, found in results.clinical.items()
    ]
    return Table(
        "cuts",
        f"Balanced accuracy per patient, {_BELOW}: where the diagnosis is the class of greatest "
        "probability, and where each model's thresholds are chosen on its own validation patients. "
        "A gain that is gone there was a shift of the cut.",
        ("Arm", "Greatest probability", "Cut on validation", "Models with thresholds"),
        tuple(rows),
    )


def _operating_points(results: Evaluation, name: str, arms: Sequence[str]) -> Table:
    rows = []
    for arm in arms:
        use = results.clinical[arm]
        for label, found in use.classes.items():
            points = (found.greatest, found.validated)
            cells = [estimate_text(side) for p in points for side in (p.sensitivity, p.specificity)]
            low, high = found.thresholds
            cuts = f"{number(low, 2)} to {number(high, 2)}" if math.isfinite(low) else NONE
            rows.append((arm, label, *cells, cuts, f"{found.validated.models} of {use.models}"))
    return Table(
        name,
        f"Sensitivity and specificity per patient, each class against the rest, {_BELOW}: where "
        "the class has the greatest probability, and cut at the threshold that each model chose on "
        "its own validation patients, whose least and greatest are given.",
        (
            "Arm", "Class", "Sensitivity", "Specificity", "Sensitivity, cut on validation",
            "Specificity, cut on validation", "Thresholds", "Models with a threshold",
        ),
        tuple(rows),
    )  # fmt: skip


def _predictive_values(results: Evaluation, name: str, arms: Sequence[str]) -> Table:
    rows, stated = [], ()
    for arm in arms:
        for label, found in results.clinical[arm].classes.items():
            own, *stated = found.predictive
            cells = [
                estimate_text(side)
                for at in found.predictive
                for side in (at.positive, at.negative)
            ]
            rows.append((arm, label, number(own.prevalence, 2), *cells))
    columns = [f"{side} at {at.prevalence:g}" for at in stated for side in ("PPV", "NPV")]
    return Table(
        name,
        f"Positive and negative predictive values of the class of greatest probability, {_BELOW}: "
        "at the share that the class has here, and at stated prevalences. They assume that "
        "sensitivity and specificity carry over to patients among whom the class is that common.",
        ("Arm", "Class", "Share here", "PPV", "NPV", *columns),
        tuple(rows),
    )


def _recalibration(results: Evaluation, name: str, arms: Sequence[str]) -> Table:
    rows = [
        (arm, label, estimate_text(found.intercept, sign=True), estimate_text(found.slope))
        for arm in arms
        for label, found in results.clinical[arm].classes.items()
    ]
    return Table(
        name,
        f"Logistic recalibration per patient, each class against the rest, {_BELOW}. Intercept: 0 "
        "is right, above 0 the class is commoner than its probabilities say. Slope: 1 is right, "
        "below 1 the probabilities are too extreme; undefined where a cut parts the class from "
        "the rest without an error.",
        ("Arm", "Class", "Intercept", "Slope"),
        tuple(rows),
    )


def _benefits(results: Evaluation, label: str) -> dict[str, NetBenefit]:
    """By arm; those that are shown have it."""
    found = {arm: results.clinical[arm].classes[label].benefit for arm in results.shown}
    return {arm: benefit for arm, benefit in found.items() if benefit is not None}


def _net_benefit(results: Evaluation) -> Table:
    rows = []
    for label in results.predictions.classes:
        benefits = _benefits(results, label)
        for arm, benefit in benefits.items():
            rows.append((arm, label, *(estimate_text(at, sign=True) for at in benefit.at)))
        if label in results.benefit_gains:
            first, second = results.shown
            gains = [estimate_text(gain, sign=True) for gain in results.benefit_gains[label]]
            rows.append((f"{second} over {first}", label, *gains))
        everybody = next(iter(benefits.values())).all_at
        rows.append(("treat all", label, *(number(value, sign=True) for value in everybody)))
    return Table(
        "net_benefit",
        f"Net benefit at threshold probabilities, each class against the rest, {_BELOW}: the share "
        "of patients who are rightly called, less that of the wrongly called in units of it, at "
        "this cohort's shares. To treat none has 0.",
        ("Arm", "Class", *(f"at {risk:g}" for risk in RISKS)),
        tuple(rows),
    )


def _panels(source: Source, height: float, narrow: bool) -> tuple[Canvas, list[Axes]]:
    """A panel a class, three in a row."""
    classes = source.predictions.classes
    shared = {"sharex": True, "sharey": True}
    canvas, axes = panels(len(classes), 3, height, narrow=narrow, **shared)
    for ax, name in zip(axes, classes, strict=True):
        ax.set_title(name if len(name) < 22 else name[:20] + "…")
    return canvas, axes


def _style(results: Evaluation, arm: str) -> dict[str, Any]:
    last = arm == results.shown[-1]
    return {"color": INK if last else GREY, "ls": "-" if last else "--", "lw": 1.3, "label": arm}


def _finish(canvas: Canvas, ax: Axes, x: str, y: str, columns: int) -> Canvas:
    canvas.supxlabel(x, fontsize=11)
    canvas.supylabel(y, fontsize=11)
    canvas.legend(
        *ax.get_legend_handles_labels(), loc="outside upper center", ncols=columns, frameon=False
    )
    return canvas


def _calibration(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas:
    canvas, axes = _panels(source, 2.4, narrow)
    for ax, label in zip(axes, source.predictions.classes, strict=True):
        ax.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=(0, (1, 2)), label="right")
        for arm in results.shown:
            curve = results.clinical[arm].classes[label].curve
            if curve is not None:
                style = _style(results, arm)
                x, low, high = curve.probability, curve.low, curve.high
                if arm == results.shown[-1]:
                    drawn = [ax.fill_between(x, low, high, color=PALE, lw=0)]
                else:
                    drawn = ax.plot(x, low, x, high, color=GREY, ls="--", lw=0.6)
                for artist in [*drawn, *ax.plot(x, curve.observed, **style)]:
                    mark(artist, arm, arm)
        ax.set(xlim=(0, 1), ylim=(0, 1))
    return _finish(
        canvas, axes[0], "Probability of the class", "Share who have it", 2 if narrow else 4
    )


def _decision(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas:
    canvas, axes = _panels(source, 2.3, narrow)
    most = 0.0
    for ax, label in zip(axes, source.predictions.classes, strict=True):
        benefits = _benefits(results, label)
        everybody = next(iter(benefits.values())).all_curve
        ax.axhline(0, color=GREY, lw=0.8, label="treat none")
        ax.plot(RISK_CURVE, everybody, color=GREY, lw=1.1, ls=":", label="treat all")
        for arm, benefit in benefits.items():
            (line,) = ax.plot(RISK_CURVE, benefit.curve, **_style(results, arm))
            mark(line, arm, arm)
            most = max(most, float(benefit.curve.max()), float(everybody.max()))
    for ax in axes:
        ax.set(xlim=(0, 1), ylim=(-0.25 * most, 1.1 * most))
    names = "Threshold probability", "Net benefit"
    return _finish(canvas, axes[0], *names, 2 if narrow else 4)


CLINICAL_FIGURES: Final[dict[str, Drawing]] = {
    "clinical_calibration": (
        _calibration,
        "Calibration per patient over all seeds, a class a panel: loess of how often the class is "
        "there on its probability; on the dotted line the two are equal. The grey band, and the "
        "two thin lines of the dashed arm, are pointwise 95% intervals of these trained models "
        "over patients.",
        "Smoothed calibration curves of the arms in the legend, a panel a class; intercepts and "
        "slopes stand in the table of recalibration.",
    ),
    "decision": (
        _decision,
        "Decision curves per patient, a class a panel: net benefit over the threshold probability "
        "at which one would act, against acting on all and on none.",
        "Net benefit of the arms in the legend, a panel a class; values stand in the table of net "
        "benefit.",
    ),
    **ABSTENTION_FIGURES,
}
