"""What a person sees: one console, and progress bars on it."""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vaclip.processes import is_first_process

console = Console(quiet=True)
"""Silent until a command speaks: used from Python, vaclip prints nothing unasked."""


def speak() -> Console:
    """Returns the console and lets it be heard, in the first process of a distributed run alone."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # what a terminal cannot show stops nothing
        sys.stdout.reconfigure(errors="replace")
    console.quiet = not is_first_process()
    return console


def say(text: str) -> None:
    """Prints a line as it is: names in it may have brackets, and are not cut."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def setup_logging() -> None:
    """Lets the console be heard, with vaclip's own messages from INFO on and others' warnings."""
    speak()
    handler = RichHandler(console=console, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    logging.getLogger("vaclip").setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Lightning 2.6 on torch 2.13; nothing that a user could change.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    # On a login node of Slurm, where one process is enough.
    warnings.filterwarnings("ignore", message=".*`srun` command is available on your system")
    # Metrics of a split are computed by every process from the rows of all.
    warnings.filterwarnings("ignore", message=".*It is recommended to use `self.log")
    # An encoder whose last block is trained along stays in it on purpose.
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training")


@contextmanager
def progress_bar(label: str) -> Generator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total); the bar appears with the first call."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
