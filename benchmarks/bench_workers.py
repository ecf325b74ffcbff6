"""Two workers against one, and more sections against fewer: whole reductions by the command line.

    OMP_NUM_THREADS=1 python benchmarks/bench_workers.py
    python benchmarks/bench_workers.py --sections 2 4 8 --visits 3 --shape 2048x3072

A simulated survey of two nights is archived; `firstlight reduce` calibrates and solves it, a
reference is built of the first night, and `reduce` subtracts it. Both calls are timed, start of
the programs and saving included. How much two workers can gain at all is measured beside: two
equal surveys at the same moment, each by a `firstlight` of its own with one worker, share
nothing but the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from meter import ONE_THREAD, Spent, run_metered

FIRSTLIGHT = Path(sys.executable).parent / "firstlight"
ENVIRONMENT = {**os.environ, **ONE_THREAD}


def main() -> None:
    """Each number of sections with one worker, the largest with two as well."""
    options = parse()
    print("sections  images  workers    wall s     CPU s   CPU s an image")
    with tempfile.TemporaryDirectory(prefix="workers-", dir=options.work) as folder:
        for sections in sorted(options.sections):
            home = Path(folder) / str(sections)
            make_survey(home, sections, options)
            images = 2 * options.visits * sections
            one = reduced(home, 1)
            show(sections, images, 1, one)
        two, both = reduced(home, 2), at_once(home)
    show(sections, images, 2, two)
    print(f"two workers are {one.wall / two.wall:.2f} times as fast as one;")
    print(
        f"two programs at once do {2 * one.wall / both:.2f} times as much as one: the machine's own"
    )


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sections", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--visits", type=int, default=3, help="of each of the two nights")
    parser.add_argument("--shape", default="2048x2048")
    parser.add_argument("--seed", default="5")
    parser.add_argument("--work", help="where temporary files go")
    return parser.parse_args()


def make_survey(home: Path, sections: int, options: argparse.Namespace) -> None:
    """A survey in ``survey`` and a workspace that has archived it in ``new``."""
    home.mkdir()
    size = ["--sections", str(sections), "--visits", str(options.visits), "--shape", options.shape]
    call(home, "simulate-survey", "survey", "--nights", "2", "--seed", options.seed, *size)
    call(home, "init", "new")
    with (home / "new" / "firstlight.toml").open("a") as settings:
        settings.write((home / "survey" / "settings.toml").read_text())
    call(home, "-w", "new", "ingest", "survey/raw")


def reduced(home: Path, workers: int) -> Spent:
    """Both reductions of a fresh copy of the workspace."""
    shutil.copytree(home / "new", home / "work")
    first = timed(home, "-w", "work", "reduce", "--workers", str(workers))
    call(home, "-w", "work", "reference", "build", "--to", "2026-01-16")
    second = timed(home, "-w", "work", "reduce", "--workers", str(workers))
    shutil.rmtree(home / "work")
    return Spent(first.cpu + second.cpu, first.wall + second.wall)


def at_once(home: Path) -> float:
    """Seconds of the clock of two copies, each with a program of its own, at the same moment."""
    names = "left", "right"
    for name in names:
        shutil.copytree(home / "new", home / name)
    total = together(home, names)
    for name in names:
        call(home, "-w", name, "reference", "build", "--to", "2026-01-16")
    total += together(home, names)
    return total


def together(home: Path, names: tuple[str, ...]) -> float:
    """Until the last has ended."""
    begin = time.perf_counter()
    running = [start(home, "-w", name, "reduce", "--workers", "1") for name in names]
    for process in running:
        finish(process)
    return time.perf_counter() - begin


def timed(home: Path, *arguments: str) -> Spent:
    """One command with its workers."""
    os.chdir(home)
    status, spent = run_metered([str(FIRSTLIGHT), *arguments])
    if status:
        sys.exit(status)
    return spent


def call(home: Path, *arguments: str) -> None:
    """Run a command to its end, which must be a success."""
    finish(start(home, *arguments))


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command."""
    return subprocess.Popen(
        [str(FIRSTLIGHT), *arguments],
        cwd=home,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for it."""
    told, _ = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(map(str, process.args))} failed:\n{told}")


def show(sections: int, images: int, workers: int, took: Spent) -> None:
    """A line of the table."""
    each = took.cpu / images
    print(
        f"{sections:8} {images:7} {workers:8} {took.wall:9.1f} {took.cpu:9.1f} {each:11.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
