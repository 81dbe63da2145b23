"""How a command is stopped: what it says, with which status, and what ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORK = """
import signal, sys, time
from vaclip.signals import stoppable
with stoppable("go on"):
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("tidied up", flush=True)
"""


def start(code: str, *words: str, sigint=signal.SIG_DFL, **more) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # A shell that runs the tests in the background has Ctrl-C ignored, also by children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, sigint), **more,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_said_and_has_its_status(number, status):
    with start(WORK) as process:
        process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err == f"stopped by {signal.Signals(number).name}; go on\n"
    assert out == "tidied up\n"


def test_one_process_of_several_speaks():
    with start(WORK, env={**os.environ, "LOCAL_RANK": "1"}) as process:
        process.stdout.readline()
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 143


STUBBORN = (
    WORK
    + """
        time.sleep(60)
"""
)


def test_a_second_signal_kills():
    with start(STUBBORN) as process:
        for _ in range(2):  # "at work", "tidied up"
            process.stdout.readline()
            process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def test_a_signal_that_the_parent_ignores_stays_ignored():
    with start(WORK.replace("sleep(60)", "sleep(0.5)"), sigint=signal.SIG_IGN) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


CHILD = """
import subprocess, sys, time
from vaclip.signals import end_with_parent
end_with_parent()
print(subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(60)
"""


def test_what_a_launcher_started_ends_with_the_parent():
    with start(CHILD, start_new_session=True) as process:
        grandchild = int(process.stdout.readline())
        assert process.poll() is None
        process.stdin.close()  # as the system does when the parent is gone
        process.wait(timeout=60)
    deadline = time.monotonic() + 30
    while _alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(grandchild)


def _alive(process: int) -> bool:
    """Whether it runs; one that nobody waited for yet is dead."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
