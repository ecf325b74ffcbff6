"""Kill it, interrupt it, run it twice: the same command again ends with the same products."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


class Reduction:
    """The small program, as many times and as often at once as a test wants."""

    def __init__(self, database: str, folder: Path, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.database, self.folder, self.settings = database, folder, settings
        self.ledger = folder / "ledger"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, **more: Any) -> subprocess.Popen[str]:
        settings = json.dumps({**self.settings, **more})
        command = [str(HERE / "run_jobs.py"), self.database, str(self.folder), settings]
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE)},
            start_new_session=True,  # its own Ctrl-C
        )
        self._started.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        process.kill()
        process.communicate()

    def clean_up(self) -> None:
        for process in self._started:
            if process.returncode is None:
                self.kill(process)

    def finish(self, process: subprocess.Popen[str] | None = None) -> dict[str, dict[str, Any]]:
        """Let it end undisturbed; it says what became of the jobs, and nothing else."""
        out, err = (process or self.start()).communicate(timeout=60)
        lines = out.splitlines()
        assert lines[:1] == ["submitted"], err
        assert err == ""
        outcomes: dict[str, dict[str, Any]] = json.loads(lines[1])
        return outcomes

    def runs(self) -> Counter[str]:
        """How often the work on each product was begun."""
        if not self.ledger.exists():
            return Counter()
        return Counter(line.split()[0] for line in self.ledger.read_text().splitlines())

    def workers(self) -> set[int]:
        return {int(line.split()[1]) for line in self.ledger.read_text().splitlines()}

    def products(self) -> set[str]:
        return {p.name for p in self.folder.iterdir() if p.suffix != ".part"} - {"ledger"}

    def wanted(self) -> set[str]:
        bad = self.settings.get("bad", [])
        return {f"product-{n}" for n in range(self.settings["jobs"]) if n not in bad}


def until(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


Reduce = Callable[..., Reduction]


@pytest.fixture
def reduce(tmp_path: Path) -> Iterator[Reduce]:
    made: list[Reduction] = []

    def make(database: str, **settings: Any) -> Reduction:
        made.append(Reduction(database, tmp_path / "products", **settings))
        return made[-1]

    yield make
    for reduction in made:
        reduction.clean_up()


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgres", marks=[pytest.mark.postgres, pytest.mark.slow]),
    ]
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "jobs.sqlite")
    return str(request.getfixturevalue("postgres_jobs_url"))


def test_an_undisturbed_run_does_each_job_once_and_says_nothing(
    database: str, reduce: Reduce
) -> None:
    reduction = reduce(database, jobs=12, bad=[5])
    outcomes = reduction.finish()
    assert [n for n, o in outcomes.items() if o["state"] == "failed"] == ["job-5"]
    assert reduction.products() == reduction.wanted()
    assert set(reduction.runs().values()) == {1}
    assert reduction.finish() == outcomes
    assert set(reduction.runs().values()) == {1}


def test_killed_in_the_middle_it_goes_on_where_it_was(database: str, reduce: Reduce) -> None:
    reduction = reduce(database, jobs=12, bad=[5], seconds=0.1)
    process = reduction.start()
    assert until(lambda: len(reduction.products()) >= 4)
    reduction.kill(process)
    finished = reduction.products()
    assert until(lambda: not any(map(alive, reduction.workers())))
    outcomes = reduction.finish()
    assert reduction.products() == reduction.wanted()
    assert {o["state"] for o in outcomes.values()} == {"done", "failed"}
    again = {product for product, times in reduction.runs().items() if times > 1}
    # Two were being worked on; two more may have been written in the moment of the kill.
    assert len(again) <= 4
    assert len(again & finished) <= 2
    assert max(reduction.runs().values()) == 2


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.nightly)])
def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path, reduce: Reduce, rounds: int) -> None:
    reduction = reduce(str(tmp_path / "jobs.sqlite"), jobs=60, bad=[3, 31])
    chance = random.Random(rounds)
    kills = 0
    for _ in range(rounds):
        process = reduction.start(seconds=0.2)
        try:
            process.wait(chance.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            kills += 1
        reduction.kill(process)
    assert kills >= min(rounds, 3)
    outcomes = reduction.finish()
    assert reduction.products() == reduction.wanted()
    assert {j for j, o in outcomes.items() if o["state"] == "failed"} == {"job-3", "job-31"}
    assert sum(o["state"] == "done" for o in outcomes.values()) == 58
    assert set(reduction.runs()) >= reduction.wanted()
    # A job can only have been begun once more for each kill, and few of them were.
    assert max(reduction.runs().values()) <= kills + 1
    assert sum(reduction.runs().values()) <= 60 + 4 * kills
    assert until(lambda: not any(map(alive, reduction.workers())))


def test_interrupted_it_stops_at_once_and_can_go_on(database: str, reduce: Reduce) -> None:
    reduction = reduce(database, jobs=12, seconds=0.3)
    process = reduction.start()
    assert until(lambda: len(reduction.products()) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1
    assert process.returncode != 0
    assert not any(map(alive, reduction.workers()))
    assert reduction.products() < reduction.wanted()
    outcomes = reduction.finish()
    assert reduction.products() == reduction.wanted()
    assert {o["state"] for o in outcomes.values()} == {"done"}


def test_a_killed_worker_costs_its_job_one_attempt(tmp_path: Path, reduce: Reduce) -> None:
    reduction = reduce(str(tmp_path / "jobs.sqlite"), jobs=6, seconds=0.4)
    process = reduction.start()
    assert until(lambda: reduction.ledger.exists() and reduction.ledger.read_text().count("\n"))
    product, pid = reduction.ledger.read_text().splitlines()[0].split()
    os.kill(int(pid), signal.SIGKILL)
    outcomes = reduction.finish(process)
    assert {o["state"] for o in outcomes.values()} == {"done"}
    attempts = {f"product-{j.removeprefix('job-')}": o["attempts"] for j, o in outcomes.items()}
    assert attempts == {name: 2 if name == product else 1 for name in reduction.wanted()}
    assert reduction.runs() == Counter(attempts)


def test_two_at_once_never_do_a_job_twice(database: str, reduce: Reduce) -> None:
    reduction = reduce(database, jobs=30, bad=[7], seconds=0.1)
    both = [reduction.start(workers=1), reduction.start(workers=2)]
    first, second = (reduction.finish(process) for process in both)
    assert first == second
    assert reduction.products() == reduction.wanted()
    assert set(reduction.runs().values()) == {1}


def test_the_living_take_over_from_the_dead(database: str, reduce: Reduce, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    reduction = reduce(database, jobs=20, gate=str(gate))
    doomed = reduction.start(workers=2)
    assert until(lambda: len(reduction.runs()) == 2)
    survivor = reduction.start(workers=1)
    assert until(lambda: len(reduction.workers()) == 3)
    reduction.kill(doomed)
    gate.touch()
    outcomes = reduction.finish(survivor)
    assert {o["state"] for o in outcomes.values()} == {"done"}
    assert reduction.products() == reduction.wanted()
    assert max(reduction.runs().values()) <= 2
