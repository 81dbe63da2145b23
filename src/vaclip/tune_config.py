"""The settings of a search within each fold."""

from __future__ import annotations

from dataclasses import dataclass

from vaclip.errors import VaclipError
from vaclip.settings import POSITIVE, listed, number, setting


@dataclass
class TuneConfig:
    """See `vaclip.runs.tune`."""

    trials: int = setting(0, number(lambda x: x != 1 and x >= 0, "0, or 2 or more"))
    lr: list[float] = setting([0.3, 1.0, 3.0], listed(POSITIVE, least=1))
    weight_decay: list[float] = setting([0.1, 1.0, 10.0], listed(POSITIVE, least=1))
    width: list[float] = setting([0.5, 1.0, 2.0], listed(POSITIVE, least=1))


def check_tune(tune: TuneConfig) -> None:
    """Raises a VaclipError where there are more trials than settings to try."""
    there = len(tune.lr) * len(tune.weight_decay) * len(tune.width)
    if tune.trials > there:
        raise VaclipError(
            f"tune.trials is {tune.trials}, but tune.lr, tune.weight_decay and tune.width make "
            f"{there} settings; use fewer trials or longer lists"
        )
