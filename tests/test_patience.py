from __future__ import annotations

import errno
import threading
from dataclasses import replace

import pytest

from vaclip.patience import GaveUpError, Patience


class Outcomes:
    """An action that fails as it is told, and then gives 7."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7


@pytest.fixture
def slept():
    return []


@pytest.fixture
def patience(slept):
    return Patience(attempts=4, wait_s=1, sleep=slept.append)


@pytest.mark.parametrize("failures", [0, 1, 3])
def test_what_fails_is_begun_again(patience, slept, failures):
    action = Outcomes(*[OSError(errno.EIO, "no")] * failures)
    again = []
    assert patience.persist(action, again=lambda: again.append(1)) == 7
    assert action.calls == failures + 1
    assert len(again) == len(slept) == failures
    for number, pause in enumerate(slept):
        assert 2**number / 2 <= pause <= 2**number


def test_the_number_of_attempts_is_bounded(patience, slept):
    action = Outcomes(*[OSError(errno.ESTALE, "Stale file handle")] * 9)
    with pytest.raises(GaveUpError, match=r"Stale file handle \(4 attempts\)") as raised:
        patience.persist(action)
    assert action.calls == 4
    assert len(slept) == 3
    assert isinstance(raised.value.__cause__, OSError)
    assert not raised.value.final


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.ENOSPC, "No space left on device"),
        ImportError("no such package"),
    ],
)
def test_what_stays_as_it_is_is_tried_once(patience, slept, error):
    action = Outcomes(error)
    with pytest.raises(GaveUpError) as raised:
        patience.persist(action)
    assert raised.value.final
    assert raised.value.__cause__ is error
    assert (action.calls, slept) == (1, [])


def test_errors_of_other_packages_are_failures_too(patience):
    class EndpointConnectionError(Exception):
        pass

    action = Outcomes(*[EndpointConnectionError("could not connect")] * 9)
    with pytest.raises(GaveUpError, match="EndpointConnectionError: could not connect"):
        patience.persist(action)
    assert action.calls == 4


def test_what_stalls_is_given_up_and_begun_again(patience):
    awake, calls = threading.Event(), []

    def stall_once():
        calls.append(1)
        if len(calls) == 1:
            awake.wait()
        return 7

    try:
        # Only what never ends is ever near the limit.
        assert replace(patience, stall_s=0.5).persist(stall_once) == 7
    finally:
        awake.set()
    assert len(calls) == 2


def test_what_always_stalls_ends(patience):
    awake = threading.Event()
    try:
        with pytest.raises(GaveUpError, match=r"no answer within 0\.05 s \(4 attempts\)"):
            replace(patience, stall_s=0.05).persist(awake.wait)
    finally:
        awake.set()


def test_the_limit_grows_with_what_is_moved(patience):
    awake = threading.Event()
    try:
        with pytest.raises(GaveUpError, match=r"no answer within 0\.06 s"):
            replace(patience, stall_s=0.05, attempts=1).persist(awake.wait, size=(1 << 20) // 100)
    finally:
        awake.set()
