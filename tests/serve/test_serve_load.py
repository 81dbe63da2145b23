"""Fifty uploads at once: each is answered or told to come again, and memory stays bounded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
from conftest import write_video
from exported_folder import CLASSES, SIDE, write_exported
from serving import ask

UPLOADS, QUEUE, MIB = 50, 3, 8
pytestmark = pytest.mark.slow


def _heavy(path, channel):
    """Returns an MP4 file of 8 MiB that tells a class: most of it is a box that players skip."""
    pictures = np.zeros((16, SIDE, SIDE, 3), np.uint8)
    pictures[..., channel] = 200
    content = write_video(path, pictures, codec="libx264").read_bytes()
    free = (MIB << 20) - len(content)
    return content + free.to_bytes(4, "big") + b"free" + bytes(free - 8)


def _resident(pid):
    """Returns the most bytes that a process had so far."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) << 10


def _held(pid):
    """Returns the bytes of the uploads that a process holds."""
    total = 0
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            total += one.stat().st_size if "memfd:upload" in os.fspath(one.readlink()) else 0
        except FileNotFoundError:
            continue  # closed meanwhile
    return total


@pytest.fixture
def served_alone(tmp_path):
    """A server in a process of its own; yields it and its port."""
    folder = write_exported(tmp_path / "model")
    command = [sys.executable, "-m", "vaclip", "serve", str(folder), "--queue", str(QUEUE)]
    with subprocess.Popen([*command, "--max-mb", str(MIB)], stdout=subprocess.PIPE) as process:
        address = process.stdout.readline().decode()
        threading.Thread(target=process.stdout.read, daemon=True).start()
        try:
            yield process, int(re.search(r":(\d+)/", address)[1])
        finally:
            process.kill()


def test_fifty_at_once_are_all_answered_or_told_to_come_again(served_alone, tmp_path):
    process, port = served_alone
    videos = [_heavy(tmp_path / f"{n}.mp4", n) for n in range(3)]
    ask(port, body=videos[0])
    before, most_held, done = _resident(process.pid), 0, threading.Event()

    def watch():
        nonlocal most_held
        while not done.wait(0.01):
            most_held = max(most_held, _held(process.pid))

    def send(number):
        return number % 3, *ask(port, body=videos[number % 3])

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(UPLOADS) as pool:
        answers = list(pool.map(send, range(UPLOADS)))
    done.set()
    watcher.join()

    taken = [(said["predicted"], CLASSES[n]) for n, status, _, said in answers if status == 200]
    refused = [int(headers["Retry-After"]) for _, status, headers, _ in answers if status == 503]
    assert len(taken) + len(refused) == UPLOADS
    assert all(said == right for said, right in taken)
    assert len(taken) > QUEUE
    assert refused
    assert min(refused) >= 1
    assert 0 < most_held <= (1 + QUEUE) * (MIB << 20)
    assert _resident(process.pid) - before < 100 << 20
    assert ask(port, "/health")[2]["uploads"] == _held(process.pid) == 0
