"""The table that a run prints."""

from __future__ import annotations

import math

from rich.table import Table

from vaclip.config import Config
from vaclip.evaluation.labels import ALIGNMENT, AMONG, METRICS, PLACES, SIDES
from vaclip.metrics.functional import CLASSIFICATION_NAMES
from vaclip.runs.results import fold_summary
from vaclip.runs.run import RunResult


def _caption(config: Config) -> str | None:
    if config.loss.clip_weight == 0:
        return "Retrieval and alignment are undefined: the alignment was not trained."
    if config.model.map_guided:
        return (
            "The video embedding of a guided model has seen the map that it is to retrieve: "
            "compare retrieval with guided models alone."
        )
    return None


def result_table(result: RunResult, config: Config) -> Table:
    """Returns the test metrics beside what needs no model: a majority guess, or chance."""
    folds = result.metrics
    summary = fold_summary(folds)
    guess = fold_summary({k: {"test": fold["majority"]} for k, fold in folds.items()})
    which = f"fold {next(iter(folds))}" if len(folds) == 1 else f"{len(folds)} folds, mean ± std"
    table = Table(title=f"{config.arm}, {which}, test patients", caption=_caption(config))
    for name, side in (("", "left"), ("test", "right"), ("without a model", "right")):
        table.add_column(name, justify=side, no_wrap=True)

    def show(values: dict[str, dict[str, float]], key: str) -> str:
        mean, std = values[key]["mean"], values[key]["std"]
        if math.isnan(mean):
            return "undefined"
        shown = f"{mean:.3f}" if math.isnan(std) else f"{mean:.3f} ± {std:.3f}"
        defined = values[key]["folds"]
        return shown if defined == len(folds) else f"{shown} ({defined} folds)"

    for unit in ("patient", "clip"):
        table.add_section()
        table.add_row(f"[bold]per {unit}[/bold]", "", "[italic]majority guess[/italic]")
        for name in CLASSIFICATION_NAMES:
            key = f"test/{unit}/{name}"
            without = "" if name == "log_loss" else show(guess, key)
            table.add_row(f"  {METRICS[name]}", show(summary, key), without)
    for prefix, among in AMONG.items():
        table.add_section()
        table.add_row(f"[bold]retrieval among {among}[/bold]", "", "[italic]chance[/italic]")
        for place, shown in PLACES.items():
            chance = show(summary, f"test/{prefix}_{place}_chance")
            for side in ("v2a", "a2v"):
                key = f"test/{prefix}_{place}_{side}"
                table.add_row(f"  {shown}, {SIDES[side]}", show(summary, key), chance)
    table.add_section()
    table.add_row("[bold]video-map alignment, per clip[/bold]", "", "")
    for name, shown in ALIGNMENT.items():
        table.add_row(f"  {shown}", show(summary, f"test/{name}"), "")
    return table
