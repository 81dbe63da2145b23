"""What may fail or stall is tried a bounded number of times, each time for so long."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

from vaclip.errors import VaclipError, system_message

_Result = TypeVar("_Result")
_MIB = 1 << 20
# Asked again, a storage would say the same.
_FINAL = (
    VaclipError, FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError,
    NotImplementedError, ImportError, TypeError, ValueError,
)  # fmt: skip
_FINAL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class GaveUpError(Exception):
    """Something failed for good, or in every attempt; the reason is its cause.

    Attributes:
        final: Whether another attempt would have failed alike.
    """

    def __init__(self, reason: BaseException, attempts: int, *, final: bool) -> None:
        said = (
            system_message(reason)
            if isinstance(reason, OSError)
            else f"{type(reason).__name__}: {reason}"
        )
        super().__init__(said if final else f"{said} ({attempts} attempts)")
        self.final = final


@dataclass(frozen=True)
class Patience:
    """How long a storage is waited for.

    Attributes:
        attempts: How often something is tried.
        wait_s: Seconds before the second attempt, doubled before each further one; by chance down
            to the half, so that many processes do not come back at once.
        stall_s: Seconds that an attempt may take, and one more for each MiB.
        lock_s: Seconds to wait for another process of this machine that does the same.
        sleep: Waits for so many seconds.
    """

    attempts: int = 5
    wait_s: float = 0.5
    stall_s: float = 60.0
    lock_s: float = 600.0
    sleep: Callable[[float], None] = time.sleep

    def persist(
        self,
        action: Callable[[], _Result],
        size: int = 0,
        again: Callable[[], None] = lambda: None,
    ) -> _Result:
        """Returns what an action gives, which is begun again where it fails or stalls.

        Args:
            action: What is done. One that is given up goes on in its thread, maybe to its end.
            size: Bytes that it moves.
            again: Called before it is begun again.

        Raises:
            GaveUpError: If it failed in every attempt, or for a reason that stays.
        """
        limit_s = self.stall_s + size / _MIB
        for attempt in range(1, self.attempts + 1):
            outcome = _begin(action)
            try:
                error = outcome.exception(limit_s)
            except TimeoutError:
                error = TimeoutError(f"no answer within {limit_s:.3g} s")
            if error is None:
                return outcome.result()
            final = isinstance(error, _FINAL) or getattr(error, "errno", 0) in _FINAL_NUMBERS
            if final or attempt == self.attempts:
                raise GaveUpError(error, attempt, final=final) from error
            pause = self.wait_s * 2 ** (attempt - 1)
            self.sleep(random.uniform(pause / 2, pause))
            again()
        raise ValueError(f"attempts is {self.attempts}")


def _begin(action: Callable[[], _Result]) -> Future[_Result]:
    """Begins something in a thread of its own, which ends with the process if it never does."""
    outcome: Future[_Result] = Future()

    def work() -> None:
        try:
            outcome.set_result(action())
        except Exception as error:  # noqa: BLE001 - of whatever package; told by who waits
            outcome.set_exception(error)

    Thread(target=work, daemon=True).start()
    return outcome
