"""When ``vaclip predict`` withholds a diagnosis, as the command line says it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vaclip.errors import VaclipError

if TYPE_CHECKING:
    from vaclip.runs.abstain import Abstain


def add_abstention(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group(
        "abstention",
        "Withhold a diagnosis where a model is unsure. The threshold is chosen on the validation "
        "clips of its run; of several models half have to answer at least.",
    )
    group.add_argument(
        "--abstain-by",
        choices=["confidence", "entropy", "map_information"],
        help="how sure a model is: the probability of the diagnosis (default), the entropy of all "
        "of them, how much the predicted map says",
    )
    group.add_argument(
        "--abstain-coverage", type=float, metavar="SHARE", help="answer this share of them"
    )
    group.add_argument(
        "--abstain-risk",
        type=float,
        metavar="SHARE",
        help="answer as many as have at most this share of wrong diagnoses",
    )
    group.add_argument(
        "--abstain-agreement",
        type=float,
        metavar="SHARE",
        help="answer where this share of the models make the diagnosis; not chosen on validation",
    )


def abstention_of(options: argparse.Namespace) -> Abstain | None:
    """Returns what the options ask for; None where they ask for nothing."""
    from vaclip.runs.abstain import Abstain

    wishes = (options.abstain_coverage, options.abstain_risk, options.abstain_agreement)
    if all(wish is None for wish in (options.abstain_by, *wishes)):
        return None
    if options.abstain_agreement is not None and len(options.checkpoints) < 2:
        raise VaclipError(
            "--abstain-agreement is of several models; give a run folder, or --checkpoint twice"
        )
    return Abstain(options.abstain_by or "confidence", *wishes)


def abstention_lines(told: dict[str, Any]) -> Iterator[str]:
    """Says which thresholds were chosen, and what they gave on validation."""
    for own in told["thresholds"]:
        if own["least"] is None:
            yield f"{own['checkpoint']}: answers nothing, for no threshold keeps to that risk"
            continue
        yield (
            f"{own['checkpoint']}: answers at {told['score']} of {own['least']:.3f} or more: "
            f"{own['coverage']:.0%} of its validation clips, {own['risk']:.0%} of these wrong"
        )
    if told["agreement"] is not None:
        yield f"answers where {told['agreement']:.0%} of the models make the diagnosis, as stated"
