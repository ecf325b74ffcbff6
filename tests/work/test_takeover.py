from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from firstlight.work.dbos_store import open_database
from firstlight.work.takeover import DEAD_AFTER_S, Executor, Registry

ME = Executor.myself()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path / 'jobs.sqlite'}"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_jobs_url")
    engine = open_database(sa.make_url(url))
    yield engine
    engine.dispose()


@pytest.fixture
def registry(database: sa.Engine) -> Registry:
    registry = Registry(database)
    registry.beat(ME)
    return registry


def other(executor_id: str, **facts: object) -> Executor:
    return dataclasses.replace(ME, executor_id=executor_id, **facts)  # type: ignore[arg-type]


def silence(registry: Registry, executor_id: str, seconds: float) -> None:
    table = registry._table
    with registry._engine.begin() as connection:
        late = sa.update(table).where(table.c.executor_id == executor_id)
        connection.execute(late.values(heartbeat=table.c.heartbeat - seconds))


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def test_a_process_knows_its_own_kind() -> None:
    again = Executor.myself()
    assert again.executor_id != ME.executor_id
    assert ME.neighbour_alive(again) is True


@pytest.mark.parametrize(
    ("facts", "alive"),
    [
        ({}, True),
        ({"machine": "elsewhere"}, None),
        ({"boot": "an earlier one"}, False),
        ({"begun": "earlier"}, False),  # its number has been given to another process
    ],
)
def test_neighbours_are_known_by_their_processes(facts: dict[str, str], alive: bool | None) -> None:
    assert ME.neighbour_alive(other("x", **facts)) is alive


def test_an_ended_process_is_dead_also_before_it_is_reaped() -> None:
    assert ME.neighbour_alive(other("x", pid=ended_process())) is False
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        zombie = other("z", pid=process.pid, begun="before")
        assert ME.neighbour_alive(zombie) is False


def test_on_other_machines_silence_is_death(registry: Registry) -> None:
    for name in ("talks", "silent"):
        registry.beat(other(name, machine="elsewhere"))
    silence(registry, "silent", DEAD_AFTER_S + 5)
    assert registry.dead(ME) == {"silent": None}
    registry.beat(other("silent", machine="elsewhere"))
    assert registry.dead(ME) == {}


def test_on_this_machine_silence_is_not_death(registry: Registry) -> None:
    registry.beat(other("busy"))
    silence(registry, "busy", 10 * DEAD_AFTER_S)
    assert registry.dead(ME) == {}


def test_nobody_inherits_from_himself(registry: Registry) -> None:
    silence(registry, ME.executor_id, 10 * DEAD_AFTER_S)
    assert registry.dead(ME) == {}


def test_there_is_one_heir(registry: Registry) -> None:
    registry.beat(other("dead", boot="an earlier one"))
    heirs = [other(f"heir-{n}") for n in range(8)]
    won = []
    start = threading.Barrier(len(heirs))

    def claim(heir: Executor) -> None:
        start.wait()
        if registry.inherit("dead", None, heir):
            won.append(heir.executor_id)

    threads = [threading.Thread(target=claim, args=(heir,)) for heir in heirs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_the_dead_of_a_dead_heir_pass_to_the_next(registry: Registry) -> None:
    dead, heir, next_heir = other("dead", boot="old"), other("heir"), other("next")
    registry.beat(dead)
    registry.beat(heir)
    assert registry.inherit("dead", None, heir)
    assert registry.dead(next_heir) == {}
    registry.strike_off("heir")
    registry.beat(other("heir", boot="old"))
    assert registry.dead(next_heir) == {"dead": "heir", "heir": None}
    assert registry.inherit("dead", "heir", next_heir)
    assert not registry.inherit("dead", "heir", ME)


def test_the_table_may_be_created_by_many_at_once(database: sa.Engine) -> None:
    start = threading.Barrier(4)
    made = []

    def create() -> None:
        start.wait()
        made.append(Registry(database))

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
