"""Where models look: the tables and the figure of the look audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from matplotlib.figure import Figure as Canvas

from vaclip import keys
from vaclip.errors import counted
from vaclip.evaluation.evaluate import Evaluation
from vaclip.evaluation.inference import Interval
from vaclip.evaluation.labels import LOOK_MAPS, LOOK_MEASURES, titled
from vaclip.evaluation.look import Looks, LookScore
from vaclip.reports.drawing import GREY, INK, Drawing, draw_score, name_rows, panels
from vaclip.reports.gather import Source
from vaclip.reports.typeset import NONE, Table, interval_text, number

_SHOWN: Final = ("cc", "auc_shuffled", "information_gain")
"""The measures of the figure."""
_MARKERS: Final = {
    "predicted": "o", "gate": "D", "gradcam": "s", "integrated_gradients": "^", "occlusion": "v",
}  # fmt: skip
_BELOW: Final = "below each the 95% interval over patients, of these trained models"


def look_tables(looks: Looks | None) -> dict[str, Table]:
    """By name: agreement, the same relative to floor and ceiling, and what the maps are worth."""
    if looks is None:
        return {}
    tables = {"look": _agreement(looks), "look_removal": _removal(looks)}
    rows = _rows(looks, keys.LOOK_AGREEMENT, _relative)
    if any(cell != NONE for row in rows for cell in row[2:]):
        tables["look_relative"] = Table(
            "look_relative",
            "The same relative to floor and ceiling: 0 is the mean map of the training patients, 1 "
            f"an annotator against the others; {_BELOW}. A dash: the two are not clearly apart.",
            ("Arm", "Map", *(LOOK_MEASURES[name] for name in keys.LOOK_AGREEMENT)),
            rows,
        )
    return tables


def _cell(value: float, interval: Interval, *, sign: bool = False) -> str:
    around = interval_text(interval, sign=sign)
    shown = number(value, sign=sign)
    return shown if around == NONE else f"{shown}\n{around}"


def _value(found: LookScore) -> str:
    return _cell(found.value, found.interval)


def _signed(found: LookScore) -> str:
    return _cell(found.value, found.interval, sign=True)


def _relative(found: LookScore) -> str:
    return _cell(found.relative, found.relative_interval)


def _rows(
    looks: Looks, measures: Sequence[str], cell: Callable[[LookScore], str]
) -> tuple[tuple[str, ...], ...]:
    rows = []
    for arm, maps in looks.scores.items():
        for which, scores in maps.items():
            cells = [cell(scores[name]) if name in scores else NONE for name in measures]
            if any(one != NONE for one in cells):
                rows.append((arm, LOOK_MAPS[which], *cells))
    return tuple(rows)


def _agreement(looks: Looks) -> Table:
    around = tuple(
        (
            "any arm",
            LOOK_MAPS[which],
            *(_value(own[name]) if name in own else NONE for name in keys.LOOK_AGREEMENT),
        )
        for which, own in looks.beside.items()
    )
    return Table(
        "look",
        f"Agreement with the clinicians' maps on the token grid, {_BELOW}; at most "
        f"{counted(looks.clips, 'clip')} a model, {counted(looks.models, 'model')}. KL: less is "
        "better; of the others more. Chance: 0 for CC and NSS, 0.5 for both AUCs. Information "
        "gain: bits over the mean map of the training patients. First floors, then the ceiling.",
        ("Arm", "Map", *(LOOK_MEASURES[name] for name in keys.LOOK_AGREEMENT)),
        around + _rows(looks, keys.LOOK_AGREEMENT, _value),
    )


def _removal(looks: Looks) -> Table:
    measures = (*keys.LOOK_REMOVAL, keys.LOOK_RANDOMISED, keys.LOOK_PERMUTED)
    return Table(
        "look_removal",
        "Whether a map shows what the diagnosis rests on. Deletion and insertion: by how much the "
        "area below the probability of the diagnosis is better than with random maps, as places "
        "that the map marks most are removed, or shown, first; above 0 the map is faithful. They, "
        "and all of occlusion, are of every fourth of the clips. Random "
        "weights: CC with the map of the same network untrained; near 1 the map says little of "
        "what was learned. Permuted labels: the same with the network that was trained on other "
        f"patients' diagnoses. {_BELOW.capitalize()}.",
        ("Arm", "Map", "Deletion", "Insertion", "Random weights", "Permuted labels"),
        _rows(looks, measures, _signed),
    )


def _figure(source: Source, results: Evaluation, *, narrow: bool = False) -> Canvas | None:
    looks = results.looks
    if looks is None:
        return None
    arms = list(looks.scores)
    height = 1.0 + 0.62 * len(arms)
    canvas, axes = panels(len(_SHOWN), len(_SHOWN), height, narrow=narrow, sharey=True)
    for ax, measure in zip(axes, _SHOWN, strict=True):
        for which, line in (("prior", "--"), ("other", ":"), (keys.LOOK_CEILING, "-")):
            found = looks.beside.get(which, {}).get(measure)
            if found is not None:
                ax.axvline(found.value, color=GREY, lw=1.0, ls=line, label=LOOK_MAPS[which])
        for y, arm in enumerate(arms):
            for n, (which, marker) in enumerate(_MARKERS.items()):
                found = looks.scores[arm].get(which, {}).get(measure)
                if found is not None:
                    first = marker == "o"
                    draw_score(
                        ax, y + 0.15 * (n - 2), found.value, found.interval, marker, arm,
                        color=INK if first else GREY, mfc=INK if first else "white", ms=5,
                        label=LOOK_MAPS[which],
                    )  # fmt: skip
        name_rows(ax, arms, arms)
        ax.set_title(titled(LOOK_MEASURES[measure]))
    handles = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    canvas.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncols=1 if narrow else 2,
        frameon=False,
        fontsize=9,
    )
    return canvas


LOOK_FIGURES: Final[dict[str, Drawing]] = {
    "look": (
        _figure,
        "Where models look, against where clinicians look: a marker a map with its 95% interval "
        "over patients, of these trained models. Upright lines: floors, and the ceiling where a "
        "clip has two annotators.",
        "Correlation, shuffled AUC and information gain of each arm's maps beside floors and "
        "ceiling; the values stand in the table of agreement with the clinicians' maps.",
    ),
}
