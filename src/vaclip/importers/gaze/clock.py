"""When a video began, on the clock of a recording."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from vaclip.errors import VaclipError, did_you_mean

FIRST = "first"
_MOST_NAMED = 12  # events, in a message


def start_number(options: argparse.Namespace) -> float | None:
    """Returns the number of ``--start``; None where it is a word or not given."""
    return None if options.start in (None, FIRST) else float(options.start)


def showings(
    options: argparse.Namespace,
    events: Sequence[tuple[float, str]],
    seconds: float,
    where: str,
) -> list[tuple[float, float]]:
    """Returns when a video was shown in a recording that does not say it by itself.

    Args:
        options: Where ``--start`` (as it stands in the file), or ``--start-event`` and
            ``--end-event`` say it.
        events: Times in seconds and names.
        seconds: That one unit of the file's clock lasts.
        where: For messages.

    Returns:
        Begin and end of each showing in seconds of the recording's clock, one for each time that
        the event occurs; the end may be infinite.

    Raises:
        VaclipError: If nothing says it, or there is no such event.
    """
    ordered = sorted(events)
    ends = [time for time, name in ordered if name == options.end_event]
    if options.start_event is not None:
        begins = [time for time, name in ordered if name == options.start_event]
        if not begins:
            known = list(dict.fromkeys(name[:60] for _, name in ordered))
            listed = ", ".join(known[:_MOST_NAMED]) or "none"
            more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
            raise VaclipError(
                f"{where}: there is no event '{options.start_event}' (of: {listed}{more})."
                f"{did_you_mean(options.start_event, known)}"
            )
    elif (number := start_number(options)) is not None:
        begins = [number * seconds]
    else:
        raise VaclipError(
            f"{where}: does not say when the video began: say --start-event NAME (and give the "
            "file of events too), or --start TIME as it stands in the file"
        )
    followed = [*begins[1:], math.inf]
    return [
        (begin, min([after, *(end for end in ends if end > begin)]))
        for begin, after in zip(begins, followed, strict=True)
    ]
