"""What all commands share: the console, errors as messages and exit codes, JSON, progress."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
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

from firstlight.errors import FirstlightError, Kind

__all__ = ["EXIT_CODES", "explain", "guarded", "notes", "out", "print_json", "progress_bar"]

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

P = ParamSpec("P")
R = TypeVar("R")


def explain(facts: dict[str, Any]) -> str:
    """One error as text with markup: what, where, found, expected, what to do."""
    subject = f"[bold]{escape(facts['subject'])}[/]: " if facts.get("subject") else ""
    lines = [f"{subject}{escape(facts['message'])} [dim]({facts['code']})[/]"]
    named = [name for name in ("field", "found", "expected", "hint") if facts.get(name)]
    lines += [f"  [dim]{name}:[/] {escape(str(facts[name]))}" for name in named]
    return "\n".join(lines)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Turn errors of a command into a message and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except FirstlightError as fault:
            notes.print(f"[red]error[/] {explain(fault.as_dict())}", soft_wrap=True)
            raise typer.Exit(EXIT_CODES[fault.kind]) from fault
        except KeyboardInterrupt as fault:
            notes.print("stopped; the same command again goes on from here")
            raise typer.Exit(INTERRUPTED) from fault
        except BrokenPipeError as fault:
            # The reader (head, less) has seen enough.
            sys.stderr.close()
            raise typer.Exit(0) from fault

    return run


def print_json(value: object) -> None:
    """Machine-readable output: one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


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
    with Progress(*columns, console=notes, transient=not notes.is_terminal) as progress:
        task = progress.add_task(title, total=total)

        def update(done: int, of: int | None = None) -> None:
            progress.update(task, completed=done, total=of)

        yield update
