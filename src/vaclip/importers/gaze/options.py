"""The flags of ``gaze``."""

from __future__ import annotations

import argparse
import re

from vaclip.errors import VaclipError
from vaclip.importers.gaze.clock import FIRST
from vaclip.importers.gaze.columns import SECONDS
from vaclip.importers.gaze.fixations import UNITS
from vaclip.importers.gaze.screen import Rect, Setup

FORMATS = ("tobii", "pupil", "eyelink", "gazepoint", "smi", "imotions", "table")
_NUMBER = r"\d+(?:\.\d+)?"


def add_gaze_options(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that only gaze has."""
    what = parser.add_argument_group("what the files are").add_argument
    what("--format", choices=FORMATS, help="of all files (default: told by their content)")
    what("--aoi", action="store_true", help="regions that were looked at, instead of gaze")
    what("--from", dest="source", choices=("auto", "fixations", "samples"), default="auto",
         help="default: fixations where there are some")  # fmt: skip
    what("--eye", choices=("both", "left", "right"), default="both", help="both are averaged")
    what("--min-confidence", type=float, default=0.6, metavar="0..1", help="default: 0.6")
    what("--valid", metavar="A,B,...", help="values of the column of validity that are good")
    for name, column in (
        ("time", "time"), ("x", "x"), ("y", "y"), ("duration", "durations"), ("media", "videos"),
        ("participant", "people"), ("validity", "validity"),
    ):  # fmt: skip
        what(f"--{name}-column", metavar="NAME", help=f"of a plain table: the one of {column}")
    when = parser.add_argument_group("which video was shown, and when").add_argument
    when("--video", metavar="NAME", help="where the file does not name it")
    when("--video-variable", metavar="NAME", help="EyeLink: the trial variable that names it")
    when("--time-unit", choices=tuple(SECONDS), help="where the file does not say it")
    when("--start", metavar="TIME|first", help="when the video began, on the file's clock")
    when("--start-event", metavar="NAME", help="the event or message at which it began")
    when("--end-event", metavar="NAME", help="the one at which it ended")
    place = parser.add_argument_group("where the video was shown").add_argument
    place("--position-unit", choices=UNITS, help="of x and y, where the file does not say it")
    place("--screen", metavar="WIDTHxHEIGHT", help="in pixels")
    place("--video-rect", metavar="X,Y,WIDTH,HEIGHT|screen|fit|centre",
          help="where the video lay on the screen, in its pixels; or: it filled it; as large as "
          "fits; in its own size")  # fmt: skip
    width = parser.add_argument_group("how wide a fixation is drawn").add_argument
    width("--sigma", metavar="30px|1deg",
          help="standard deviation: of the video, or degrees (default: as of joints)")  # fmt: skip
    width("--pixels-per-degree", type=float, metavar="N", help="of the screen")
    width("--screen-cm", type=float, metavar="WIDTH", help="of the screen")
    width("--distance-cm", type=float, metavar="D", help="from the eyes to the screen")


def gaze_setup(options: argparse.Namespace) -> Setup:
    """Returns how the videos were shown; the words of the flags are checked here.

    Raises:
        VaclipError: If one of them cannot be understood.
    """
    if options.start is not None and options.start_event is not None:
        raise VaclipError("--start and --start-event exclude each other")
    if options.start not in (None, FIRST):
        _match(options.start, rf"-?{_NUMBER}", "--start", "a time as it stands in the file")
    for name in ("pixels_per_degree", "screen_cm", "distance_cm"):
        value = getattr(options, name)
        if value is not None and not 0 < value < 1e6:
            raise VaclipError(f"--{name.replace('_', '-')} must be a number above 0")
    screen = sigma = None
    if options.screen is not None:
        across, down = _match(options.screen, r"([1-9]\d*)x([1-9]\d*)", "--screen", "1920x1080")
        screen = (across, down)
    if options.sigma is not None:
        (number,) = _match(options.sigma, rf"({_NUMBER}) ?(?:px|deg)", "--sigma", "30px or 1deg")
        sigma = (number, "px" if options.sigma.endswith("px") else "deg")
        if number <= 0:
            raise VaclipError("--sigma must be above 0")
    return Setup(
        _rect(options.video_rect),
        screen,
        options.screen_cm,
        options.distance_cm,
        options.pixels_per_degree,
        sigma,
    )


def _rect(word: str | None) -> Rect | str | None:
    if word in (None, "screen", "fit", "centre"):
        return word
    pattern = rf"(-?{_NUMBER}),(-?{_NUMBER}),({_NUMBER}),({_NUMBER})"
    rect = Rect(*_match(word, pattern, "--video-rect", "X,Y,WIDTH,HEIGHT, screen, fit or centre"))
    if not (rect.width > 0 < rect.height):
        raise VaclipError("--video-rect: width and height must be above 0")
    return rect


def _match(word: str, pattern: str, flag: str, expected: str) -> tuple[float, ...]:
    match = re.fullmatch(pattern, word)
    if match is None or len(word) > 100:
        raise VaclipError(f"{flag} {word}: expected {expected}")
    return tuple(float(group) for group in match.groups())
