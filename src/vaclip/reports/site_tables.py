"""The tables of scores by site."""

from __future__ import annotations

from collections.abc import Sequence

from vaclip.errors import counted
from vaclip.evaluation.compare import HEADLINE
from vaclip.evaluation.labels import METRICS
from vaclip.evaluation.sites import FEW_PATIENTS, FEW_SITES, LEAST_SITES, Site, Sites, SiteValues
from vaclip.reports.typeset import MINUS, NONE, Table, interval_text, number


def site_tables(sites: Sites | None, classes: int) -> list[Table]:
    """The arms, and the contrasts that the verdict rests on, by site.

    Args:
        sites: What is known by site.
        classes: Of the study.
    """
    if sites is None:
        return []
    what = f"{METRICS[HEADLINE]} per patient"
    said = (
        "Below it the 95% interval of these trained models on new patients of the site. "
        f"{_over_sites(sites)}"
    )
    columns = (*(_heading(site, classes) for site in sites.sites), "All", "95% interval over sites")
    tables = [Table("sites", f"By site: {what}. {said}", ("Arm", *columns), _rows(sites.arms))]
    if sites.contrasts:
        caption = f"By site, the contrasts that the verdict rests on: difference in {what}. {said}"
        rows = _rows(sites.contrasts, sign=True)
        tables.append(Table("site_contrasts", caption, ("Contrast", *columns), rows))
    return tables


def _heading(site: Site, classes: int) -> str:
    notes = [counted(site.patients, "patient")]
    if site.patients < FEW_PATIENTS:
        notes.append("few")
    if site.classes < classes:
        notes.append(f"{site.classes} of {classes} classes")
    return f"{site.name} ({', '.join(notes)})"


def _over_sites(sites: Sites) -> str:
    if not sites.nested:
        return "Over sites there is no interval, because a patient has no site or several."
    if len(sites.sites) < LEAST_SITES:
        return f"Over sites there is an interval from {LEAST_SITES} sites on."
    said = (
        "Over sites, these and not patients are drawn: the interval is of the training procedure, "
        "from what is left without each site, with Student's t of one degree of freedom less than "
        "there are sites."
    )
    if len(sites.sites) < FEW_SITES:
        said += f" With fewer than {FEW_SITES} sites it is not to be relied on."
    return said


def _rows(values: Sequence[SiteValues], *, sign: bool = False) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            f" {MINUS} ".join(own.name),
            *(_cell(value, interval_text(interval, sign=sign), sign) for value, interval in own.at),
            number(own.value, sign=sign),
            interval_text(own.interval, sign=sign),
        )
        for own in values
    )


def _cell(value: float, interval: str, sign: bool) -> str:
    shown = number(value, sign=sign)
    return shown if interval == NONE else f"{shown}\n{interval}"
