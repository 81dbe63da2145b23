"""What a training step costs on a machine that others use too, by how its threads wait.

    python benchmarks/busy_machine.py [--others 6] [--rounds 3]

Runs the default step of ``cpu_step.py`` in processes of its own: alone, and beside others that keep
every core busy; with the threads and the waiting that torch chooses, with threads that sleep while
they wait for each other (``OMP_WAIT_POLICY=PASSIVE``), and with one thread. A row is measured by
turns with the others, and given relative to the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

WAYS: dict[str, dict[str, str]] = {
    "as torch does": {},
    "threads that sleep": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
_OF_OPENMP = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GOMP_SPINCOUNT")


@contextmanager
def others(count: int) -> Generator[None]:
    """Keeps so many processes computing beside."""
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def seconds_of_a_step(way: str, batch: int, size: int) -> float:
    """Returns the median of a process."""
    plain = {name: value for name, value in os.environ.items() if name not in _OF_OPENMP}
    command = [sys.executable, Path(__file__).with_name("cpu_step.py"), "--child", "default"]
    command += ["--batch", str(batch), "--size", str(size)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=plain | WAYS[way]
    )
    return json.loads(done.stdout)["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--others", type=int, default=3 * (os.cpu_count() or 1))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=96)
    options = parser.parse_args()
    found: dict[tuple[str, int], list[float]] = {
        (way, beside): [] for way in WAYS for beside in (0, options.others)
    }
    for _ in range(options.rounds):
        for (way, beside), own in found.items():
            with others(beside):
                own.append(seconds_of_a_step(way, options.batch, options.size))
    first = statistics.median(found["as torch does", 0])
    print(f"Cores: {os.cpu_count()}; rounds: {options.rounds}\n")
    print(f"| a step takes | alone | beside {options.others} others |\n|---|---|---|")
    for way in WAYS:
        cells = []
        for beside in (0, options.others):
            own = [value / first for value in found[way, beside]]
            cells.append(f"{statistics.median(own):.2f} ({min(own):.2f} to {max(own):.2f})")
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
