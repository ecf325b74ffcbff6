"""Who runs jobs on this database, who has died, and who takes over what the dead had under way.

An executor is one process that runs jobs. On its own machine its death is seen at once, because
the process is gone; on other machines, when its heartbeat stops.
"""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError

from firstlight.work.dbos_store import SCHEMA, JobStore

__all__ = ["DEAD_AFTER_S", "Executor", "Registry", "take_over"]

DEAD_AFTER_S = 60.0  # silence after which an executor on another machine counts as dead


@dataclass(frozen=True, slots=True)
class Executor:
    """One process that runs jobs.

    Parameters
    ----------
    machine
        Tells machines, and containers with process numbers of their own, apart.
    boot
        Changes when the machine starts anew.
    begun
        When the process began, in the kernel's own count: process numbers are used again.
    """

    executor_id: str
    machine: str
    boot: str
    pid: int
    begun: str

    @classmethod
    def myself(cls) -> Executor:
        """The present process, under a new id."""
        return cls(
            executor_id=str(uuid.uuid4()),
            machine=_machine(),
            boot=_boot(),
            pid=os.getpid(),
            begun=_begun(os.getpid()),
        )

    def neighbour_alive(self, other: Executor) -> bool | None:
        """Whether an executor of this machine is alive; None when it is of another machine."""
        if other.machine != self.machine:
            return None
        if other.boot != self.boot:
            return False
        try:
            os.kill(other.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it is another user's, and so it is there
        return _begun(other.pid) == other.begun


def _machine() -> str:
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux
        namespace = ""
    return f"{platform.node()} {namespace}".strip()


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux
        return ""


def _begun(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # not Linux, or gone this instant
        return ""
    # A zombie has ended, whatever its parent makes of it.
    return "ended" if fields[0] in "ZX" else fields[19]


class Registry:
    """The table of executors. Times are the database's, so that machines need not agree."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        postgres = engine.dialect.name == "postgresql"
        self._now: sa.ColumnElement[float] = (
            sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)
            if postgres
            else sa.cast((sa.func.julianday("now") - 2440587.5) * 86400.0, sa.Float)
        )
        self._table = sa.Table(
            "executors",
            sa.MetaData(schema=SCHEMA if postgres else None),
            sa.Column("executor_id", sa.Text, primary_key=True),
            sa.Column("machine", sa.Text, nullable=False),
            sa.Column("boot", sa.Text, nullable=False),
            sa.Column("pid", sa.BigInteger, nullable=False),
            sa.Column("begun", sa.Text, nullable=False),
            sa.Column("heartbeat", sa.Float(53), nullable=False),
            sa.Column("heir", sa.Text),
        )
        try:
            with engine.begin() as connection:
                connection.execute(sa.schema.CreateTable(self._table, if_not_exists=True))
        except (IntegrityError, ProgrammingError):
            # PostgreSQL, when two create it in the same instant: the other one has.
            with engine.connect() as connection:
                connection.execute(sa.select(sa.func.count()).select_from(self._table))

    def beat(self, executor: Executor) -> None:
        """Say that this executor is alive, for the first time or again."""
        mine = self._table.c.executor_id == executor.executor_id
        with self._engine.begin() as connection:
            # An heir that came too early is sent away: what it took, it has.
            beat = sa.update(self._table).where(mine).values(heartbeat=self._now, heir=None)
            if connection.execute(beat).rowcount == 0:
                connection.execute(sa.insert(self._table).values(**self._row(executor)))

    def _row(self, executor: Executor) -> dict[str, Any]:
        return {
            "executor_id": executor.executor_id,
            "machine": executor.machine,
            "boot": executor.boot,
            "pid": executor.pid,
            "begun": executor.begun,
            "heartbeat": self._now,
        }

    def dead(self, me: Executor) -> dict[str, str | None]:
        """The dead, each with the heir that has begun to take over and has died as well."""
        table = self._table
        age = (self._now - table.c.heartbeat).label("age")
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(table, age))
            heirs: dict[str, str | None] = {}
            alive = {me.executor_id}
            for row in rows:
                other = Executor(row.executor_id, row.machine, row.boot, row.pid, row.begun)
                lives = me.neighbour_alive(other)
                if row.age < DEAD_AFTER_S if lives is None else lives:
                    alive.add(row.executor_id)
                else:
                    heirs[row.executor_id] = row.heir
        heirs.pop(me.executor_id, None)
        return {dead: heir for dead, heir in heirs.items() if heir not in alive}

    def inherit(self, dead: str, heir_before: str | None, me: Executor) -> bool:
        """Become the one heir. False: another one was quicker."""
        table = self._table
        with self._engine.begin() as connection:
            claim = (
                sa.update(table)
                .where(table.c.executor_id == dead)
                .where(table.c.heir.is_not_distinct_from(heir_before))
                .values(heir=me.executor_id)
            )
            return connection.execute(claim).rowcount == 1

    def strike_off(self, executor_id: str) -> None:
        """Forget an executor that has nothing under way any more."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.delete(self._table).where(self._table.c.executor_id == executor_id)
            )


def take_over(store: JobStore, registry: Registry, me: Executor) -> None:
    """Enqueue again whatever dead executors had under way. Call it in a loop.

    When this process dies in the middle, the next heir goes on.
    """
    for dead, heir in registry.dead(me).items():
        if registry.inherit(dead, heir, me):
            store.requeue(dead)
            registry.strike_off(dead)
