"""Processor time, wall time and memory of what is measured, and the rows of the table."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "NUMBA")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in LIBRARIES}
MEGABYTE = 1 << 20
PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Spent:
    """User and system seconds of this process and the children it waited for; wall beside."""

    cpu: float = 0.0
    wall: float = 0.0


def cpu_seconds() -> float:
    own, theirs = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime


@contextlib.contextmanager
def metered() -> Iterator[Spent]:
    spent = Spent()
    cpu, wall = cpu_seconds(), time.perf_counter()
    yield spent
    spent.cpu, spent.wall = cpu_seconds() - cpu, time.perf_counter() - wall


@dataclass
class Row:
    """One tool on one kind of data: an entry a frame of every list.

    Attributes
    ----------
    base
        Whether the ratios of this group are relative to this row.
    frames
        Names; equal names in two rows are the same input.
    quality
        Figures by name, one a frame; NaN where there is none.
    """

    part: str
    data: str
    tool: str
    base: bool = False
    frames: list[str] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    quality: dict[str, list[float]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    peak_mb: float | None = None
    stages: list[dict[str, float]] = field(default_factory=list)
    note: str = ""

    def add(self, frame: str, spent: Spent, quality: Mapping[str, float]) -> None:
        self.frames.append(frame)
        self.cpu.append(spent.cpu)
        self.wall.append(spent.wall)
        for name, value in quality.items():
            self.quality.setdefault(name, []).append(float(value))

    def ratios(self, base: Row | None) -> list[float]:
        """CPU of this row over that of `base`, frame by frame."""
        if base is None:
            return []
        theirs = dict(zip(base.frames, base.cpu, strict=True))
        pairs = zip(self.frames, self.cpu, strict=True)
        return [cpu / theirs[name] for name, cpu in pairs if theirs.get(name)]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.median(known) if known else float("nan")


def run_watched(
    command: Sequence[str], env: Mapping[str, str] | None = None
) -> tuple[int, float, Spent]:
    """Run a command: exit status, peak memory of its whole tree in MB, and what it spent.

    Pages shared by several processes count once (proportional set size), where the system tells.
    """
    peak = [0.0]
    status, spent = run_metered(command, env, beside=lambda pid: _watch(pid, peak))
    return status, peak[0], spent


def run_metered(
    command: Sequence[str],
    env: Mapping[str, str] | None = None,
    beside: Callable[[int], None] | None = None,
) -> tuple[int, Spent]:
    """Run a command: exit status, and what it spent with all its children.

    Parameters
    ----------
    beside
        Called in a thread with the process's number. What it takes of the processors, a command
        that would use all of them lacks.
    """
    adopt_orphans()
    _bury_orphans()  # of earlier commands, whose time is not this one's
    spent, wall = Spent(), time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        list(command),
        env={**os.environ, **ONE_THREAD, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    watcher = threading.Thread(target=beside or (lambda _: None), args=(process.pid,), daemon=True)
    watcher.start()
    _, complaint = process.communicate()
    spent.wall = time.perf_counter() - wall
    watcher.join()
    _bury_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode:
        print(f"{command[1]} ended with {process.returncode}:\n{complaint[-2000:]}")
    return process.returncode, spent


def _bury_orphans() -> None:
    """Wait for all children; for those of other processes that ended before them, too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0)[0]:
            pass


def adopt_orphans() -> None:
    """Be told what processes spent whose parent ended before them, such as pooled workers.

    On Linux only; elsewhere their time is missing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _watch(pid: int, peak: list[float]) -> None:
    """Peak of the tree; the dear question after shared pages is asked at new maxima only."""
    highest = 0.0
    try:
        root = psutil.Process(pid)
        while root.status() != psutil.STATUS_ZOMBIE:
            tree = [root, *root.children(recursive=True)]
            resident = sum(_held(process, "rss") for process in tree)
            if resident > 1.01 * highest:
                highest = resident
                peak[0] = max(peak[0], sum(_held(process, "pss") for process in tree))
            time.sleep(0.1)
    except psutil.NoSuchProcess:
        return


def _held(process: psutil.Process, what: str) -> float:
    try:
        memory = process.memory_info() if what == "rss" else process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
    return float(getattr(memory, what, memory.rss)) / MEGABYTE


def report(rows: Sequence[Row], *, markdown: bool = False) -> str:
    """One table a part and kind of data: ratio first, then seconds, then quality."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.part, row.data), []).append(row)
    blocks = []
    for (part, data), members in groups.items():
        base = next((row for row in members if row.base), None)
        names = list(dict.fromkeys(name for row in members for name in row.quality))
        head = ["tool", "CPU ratio", "CPU s", "wall s", "n", "failed", "MB", *names]
        lines = [head, *(_line(row, base, names) for row in members)]
        empty = [i for i in range(len(head)) if all(line[i] == "" for line in lines[1:])]
        lines = [[cell for i, cell in enumerate(line) if i not in empty] for line in lines]
        notes = [f"{row.tool}: {row.note}" for row in members if row.note]
        blocks.append(_block(f"{part}: {data}", lines, notes, markdown=markdown))
    return "\n\n".join(blocks)


def _line(row: Row, base: Row | None, names: Sequence[str]) -> list[str]:
    ratios = row.ratios(base)
    ratio = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""
    return [
        row.tool,
        "1" if row.base else ratio,
        _number(median(row.cpu)),
        _number(median(row.wall)),
        str(len(row.frames)),
        str(len(row.failures)) if row.failures else "0",
        "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        *(_number(median(row.quality.get(name, []))) for name in names),
    ]


def _number(value: float) -> str:
    if math.isnan(value):
        return ""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _block(title: str, lines: list[list[str]], notes: Sequence[str], *, markdown: bool) -> str:
    if markdown:
        head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
        rule = "|" + "---|" * len(lines[0])
        return "\n".join([f"### {title}", "", head, rule, *rest, *(f"\n{n}" for n in notes)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([title, *text, *(f"  {note}" for note in notes)])
