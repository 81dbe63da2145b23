"""Signals that stop a command: one line, and the status by which a shell or a queue knows them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from vaclip.processes import is_first_process


class Stopped(BaseException):
    """A signal came. No `Exception`, so that nothing on the way out takes it for a failure.

    Neither a `KeyboardInterrupt`, which Lightning turns into status 1.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stoppable(what_then: str) -> Generator[None]:
    """Ends with status 130 after Ctrl-C and 143 after SIGTERM; a second signal kills at once.

    What is open is closed on the way out, as after an error. A signal that the parent had ignored,
    as ``nohup`` does, stays ignored.

    Args:
        what_then: What the user may do, said after "stopped".
    """

    def stop(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Stopped(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except Stopped as stopped:
        if is_first_process():
            print(f"stopped by {stopped}; {what_then}", file=sys.stderr)
        sys.exit(128 + stopped.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_with_parent() -> None:
    """Ends this process, and the group that it leads, when the one that started it is gone."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # ends when the other end of the pipe closes
        if hasattr(os, "killpg"):
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
