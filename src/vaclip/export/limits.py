"""What is known to limit a model, and what was never tested, as sentences."""

from __future__ import annotations

from typing import Any

from vaclip.evaluation.data_card import DataCard
from vaclip.export.trained import TrainedFold


def limits(trained: TrainedFold, settings: dict[str, Any], card: DataCard | None) -> list[str]:
    """Returns what limits a model, a sentence each.

    Args:
        trained: The model.
        settings: Of model.json.
        card: Of its study.
    """
    found = []
    if trained.config["data"]["source"] == "synthetic_gait":
        found.append(
            "It was trained and tested on generated videos, in which there is no patient: it has "
            "no use on videos of people."
        )
    height, width = settings["size"]
    seen = settings["fps"] / settings["every"]
    found.append(
        f"It sees {seen:g} pictures a second of {height} x {width} pixels, whatever the video has: "
        "what is quicker or smaller is lost."
    )
    if settings["map"] is not None:
        needs = "needs" if settings["needs_map"] else "takes"
        found.append(
            f"It {needs} a clinician's map of each clip, and was tested with maps by the "
            "annotators of the study."
        )
    found.append(
        "Its probabilities are as trained: no temperature was fitted, and prevalence is that of "
        "the study."
    )
    if card is not None and not card.blinding.blinded:
        known = "knew" if card.blinding.blinded is False else "may have known"
        found.append(f"The annotators of its maps {known} the diagnosis.")
    if trained.encoder is not None:
        found.append(
            f"It rests on the weights of {trained.encoder.name} "
            f"({trained.encoder.licence}); what those were trained on is not recorded here."
        )
    told = [own for own in card.findings if own.severity != "note"] if card else []
    return found + [f"Of its study: {own.what}." for own in told]


def never_tested(trained: TrainedFold, sites: bool) -> list[str]:
    """Returns what no test of the run says anything of.

    Args:
        trained: The model.
        sites: Whether several sites were tested and told apart.
    """
    elsewhere = "sites, devices and protocols that are not in the study"
    if not sites:
        elsewhere += "; results are not told apart by site"
    found = [
        elsewhere,
        "sex, age and any other group of patients: the test table names none",
        "patients who have none of the classes, or several: each clip is given one of them",
        "damaged, dark, shaky or cut videos, beyond those in the study",
        "another share of the classes than the study's",
        "changes over the years",
        "whether anybody decides better with it than without it",
    ]
    if trained.network.gives_map:
        found.append("whether the predicted map helps or misleads those who see it")
    return found
