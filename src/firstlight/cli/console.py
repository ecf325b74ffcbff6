"""What all commands share: the console, errors as messages and exit codes, JSON, progress."""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from firstlight.errors import FirstlightError, Kind

__all__ = [
    "EXIT_CODES",
    "awaited",
    "explain",
    "guarded",
    "is_narrow",
    "notes",
    "out",
    "print_json",
    "print_table",
    "progress_bar",
    "room_for_tables",
    "waiting",
]

out = Console()
notes = Console(stderr=True)
"""Progress and messages go to standard error, so that standard output is only the answer."""

EXIT_CODES = {
    Kind.USER: 2,
    Kind.MISSING: 3,
    Kind.CONFLICT: 4,
    Kind.REMOTE: 5,
    Kind.INTERNAL: 70,
}
INTERRUPTED = 130
NARROW = 100  # columns; below this, tables leave out what can be had elsewhere
ENDLESS = 1000

REMOTE_FAULTS = (ConnectionError, TimeoutError)

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def explain(facts: dict[str, Any]) -> str:
    """One error as text with markup: what, where, found, expected, what to do."""
    subject = f"[bold]{escape(str(facts['subject']))}[/]: " if facts.get("subject") else ""
    lines = [f"{subject}{escape(facts['message'])} [dim]({facts['code']})[/]"]
    named = [name for name in ("field", "found", "expected", "hint") if facts.get(name)]
    lines += [f"  [dim]{name}:[/] {escape(str(facts[name]))}" for name in named]
    return "\n".join(lines)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of a command into a message and an exit code.

    Its docstring is its help: lines that were broken for the source are joined, so that they
    break where the terminal ends.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as fault:
            raise typer.Exit(_tell(fault)) from fault

    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    return run


def _tell(fault: BaseException) -> int:
    """Print what went wrong; returns the exit code."""
    if isinstance(fault, FirstlightError):
        notes.print(f"[red]error[/] {explain(fault.as_dict())}", soft_wrap=True)
        return EXIT_CODES[fault.kind]
    if isinstance(fault, KeyboardInterrupt):
        notes.print("stopped; the same command again goes on from here")
        return INTERRUPTED
    if isinstance(fault, BrokenPipeError):
        # The reader (head, less) has seen enough; nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if isinstance(fault, OSError):
        message = fault.strerror or str(fault)
        facts = {"subject": fault.filename, "message": message, "code": "system"}
        notes.print(f"[red]error[/] {explain(facts)}", soft_wrap=True)
        return EXIT_CODES[Kind.REMOTE if isinstance(fault, REMOTE_FAULTS) else Kind.USER]
    traceback.print_exception(fault)
    notes.print("[red]error[/] this is a fault of firstlight: please report it with the above")
    return EXIT_CODES[Kind.INTERNAL]


def print_json(value: object, *, one_line: bool = False) -> None:
    """Machine-readable output: one JSON document on standard output, at once."""
    indent = None if one_line else 1
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def is_narrow() -> bool:
    """Whether a table must do with few columns. Files and pipes are wide unless told otherwise."""
    return _is_bounded() and out.width < NARROW


def print_table(table: Table) -> None:
    """Print a table: as wide as the terminal, or one line a row where a program reads it.

    One whose columns need more than the terminal has is printed as wide as it is.
    """
    needed = sum(column.min_width or 0 for column in table.columns) + len(table.columns)
    Console(width=max(room_for_tables(), needed)).print(table, soft_wrap=False, crop=False)


def room_for_tables() -> int:
    """Columns that a table may fill."""
    return out.width if _is_bounded() else ENDLESS


def _is_bounded() -> bool:
    return out.is_terminal or "COLUMNS" in os.environ


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal what is waited for, until it is there; a pipe hears nothing."""
    if not notes.is_terminal:
        yield
        return
    with notes.status(what):
        yield


def awaited(what: str, things: Iterable[T]) -> Iterator[T]:
    """Each thing; while the next one is being made, the terminal shows what is waited for."""
    upcoming = iter(things)
    while True:
        try:
            with waiting(what):
                thing = next(upcoming)
        except StopIteration:
            return
        yield thing


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar on standard error; the function given sets how many are done (of how many)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=notes, disable=not notes.is_terminal) as progress:
        task = progress.add_task(title, total=total)

        def update(done: int, of: int | None = None) -> None:
            progress.update(task, completed=done, total=of)

        yield update
