"""A workspace as a person sees it: the command line, what it prints, what lies in the folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from firstlight.cli.main import app
from firstlight.factory import Factory
from firstlight.models.base import Base
from firstlight.services.night import NightService
from firstlight.work.inline_engine import InlineEngine

COMMAND = (sys.executable, "-m", "firstlight")
# When something was done, and how long it took: all that may differ between two runs.
PASSING = ("created_at", "modified_at", "finished_at", "cpu_s", "wall_s")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@contextmanager
def isolated(variables: dict[str, str]) -> Iterator[None]:
    """An environment with no settings but these."""
    ours = [n for n in os.environ if n.startswith("FIRSTLIGHT_") or n in ("COLUMNS", "LINES")]
    with pytest.MonkeyPatch.context() as patch:
        for name in ours:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@dataclass
class House:
    """A workspace folder, and the commands given to it."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        outside = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("FIRSTLIGHT_") and name not in ("COLUMNS", "LINES")
        }
        return {**outside, "OMP_NUM_THREADS": "1", **self.variables}

    def command(self, *arguments: str | Path) -> list[str]:
        return [*COMMAND, "-w", str(self.folder), *map(str, arguments)]

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """The command in a process group of its own, as a shell would start it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def run(self, *arguments: str | Path, code: int | None = 0, timeout: float = 300.0) -> Done:
        """Run to the end; the exit code must be `code`, and nothing may be a traceback."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        assert code is None or process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        assert "Traceback" not in err, err
        return Done(process.returncode, out, err)

    def ask(self, *arguments: str | Path, code: int | None = 0) -> Done:
        """As `run`, in this process: quicker, for commands that only look."""
        with isolated(self.variables):
            result = CliRunner().invoke(app, ["-w", str(self.folder), *map(str, arguments)])
        assert code is None or result.exit_code == code, f"{result.exit_code}\n{result.output}"
        assert "Traceback" not in result.stderr, result.stderr
        return Done(result.exit_code, result.stdout, result.stderr)

    def json(self, *arguments: str | Path, code: int = 0) -> Any:
        return self.ask(*arguments, "--json", code=code).json

    def status(self) -> dict[str, dict[str, Any]]:
        entries = self.json("status")
        return {entry["exposure"]: entry for entry in entries}

    def set(self, text: str) -> None:
        """Add lines to the settings."""
        path = self.folder / "firstlight.toml"
        path.write_text(path.read_text() + "\n" + text)

    def copy_to(self, folder: Path) -> House:
        shutil.copytree(self.folder, folder)
        return House(folder, dict(self.variables))

    @property
    def database_url(self) -> str:
        return f"sqlite:///{self.folder / 'firstlight.sqlite'}"

    def tables(self, url: str | None = None) -> dict[str, list[str]]:
        """Every row of every table as text, without what may differ between two runs."""
        engine = sa.create_engine(url or self.database_url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return {
                table.name: sorted(
                    json.dumps(dict(row._mapping), sort_keys=True, default=str)
                    for row in connection.execute(sa.select(*lasting_columns(table)))
                )
                for table in Base.metadata.sorted_tables
                if lasting_columns(table)
            }

    def files(self) -> dict[str, str]:
        """Sha256 of every file of the data folder, by name.

        What a killed writer had begun lies in a hidden folder of the store, which sweeps it later.
        """
        root = self.folder / "data"
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file() and ".firstlight" not in path.parts
        }

    def count_products(self) -> int:
        data = self.folder / "data"
        return sum(1 for kind in ("images", "sources") for _ in (data / kind).glob("*/*"))


def lasting_columns(table: sa.Table, passing: Collection[str] = PASSING) -> list[sa.Column[Any]]:
    """Columns that two runs agree on: not when it was, nor numbers in the order of writing."""
    return [
        column
        for column in table.columns
        if column.name not in passing
        and not _counts(column)
        and not any(_counts(key.column) for key in column.foreign_keys)
    ]


def _counts(column: sa.Column[Any]) -> bool:
    return column.table.autoincrement_column is column


def make_house(folder: Path, *options: str, settings: str = "", **variables: str) -> House:
    """`firstlight init`, then settings of one's own."""
    house = House(folder, variables)
    command = [*COMMAND, "init", str(folder), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, env=house.environment, check=False
    )
    assert done.returncode == 0, done.stderr
    if settings:
        house.set(settings)
    return house


def reduce(house: House) -> dict[str, int]:
    """`firstlight reduce` in this process: how many jobs each stage had."""
    factory = Factory.open(house.folder)
    service = NightService(
        make_engine=lambda: InlineEngine(factory.jobs(), factory._setup()), plans=factory.plans()
    )
    with service.running() as night:
        for stage in night.stages():
            stage.run(lambda _done: None)
    assert service.report().failures == []
    factory.database.dispose()
    return service.report().stages


def same(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between two dictionaries, named; empty where nothing does."""
    return [
        f"{name}: {_difference(one.get(name), other.get(name))}"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, Sequence) and isinstance(other, Sequence) and not isinstance(one, str):
        only = [row for row in one if row not in other], [row for row in other if row not in one]
        return f"{len(one)} and {len(other)} rows, {[rows[:2] for rows in only]}"
    return f"{one} and {other}"
