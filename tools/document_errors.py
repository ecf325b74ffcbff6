"""Write docs/errors.md: every error with its code, whose turn it is, and its message.

Usage: ``python tools/document_errors.py``

The errors are found by importing every module of the package. A test compares the page with what
this script writes.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import firstlight
from firstlight.cli.console import EXIT_CODES
from firstlight.errors import FirstlightError, Kind

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"

PROLOGUE = """\
# Errors

An error says what is at fault, what was found, what was expected and what to do:

```
refused sky/demo_20241023_science_0009.fits: The file ends before its declared data do.
  (fits.truncated_data)
  field: HDU 2 (B)
  found: 429120 bytes of data
  expected: 2162688 bytes
  hint: the file was cut short; transfer it again
```

The code in brackets is what programs test: it stays the same while messages may get better. With
`--json` the same facts come as `code`, `kind`, `message`, `subject`, `field`, `found`, `expected`
and `hint`. The kind says whose turn it is, and sets the exit code of the command. Exit code 130
means that you stopped the command.

An error of one image ends nothing but that image. It is kept with the step that failed, and
`firstlight status` shows it. `firstlight reduce` tries errors of the kinds remote and internal
again by itself, and the others when their inputs or parameters have changed, or with
`--retry-failed`.

This page is written by `tools/document_errors.py` from the code.
"""

TURNS = {
    Kind.USER: "Your turn: the input cannot be used, and trying again unchanged cannot help.",
    Kind.MISSING: "Your turn: what was asked for is not there.",
    Kind.CONFLICT: "Your turn: it contradicts what is already there.",
    Kind.REMOTE: "Another system failed; trying again may help.",
    Kind.INTERNAL: "Our turn: a fault in firstlight. Please report it.",
}
# Alembic runs these by itself, and starting the package ends the process.
NOT_IMPORTED = ("firstlight.models.migrations", "firstlight.__main__")


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    by_kind: dict[Kind, list[type[FirstlightError]]] = defaultdict(list)
    for error in all_errors():
        by_kind[error.kind].append(error)
    parts = [PROLOGUE]
    for kind, turn in TURNS.items():
        parts.append(f"\n## {kind.value}: exit code {EXIT_CODES[kind]}\n\n{turn}\n")
        parts.append("\n| code | message | class |\n|---|---|---|\n")
        parts += [
            f"| `{error.code}` | {message(error)} | `{error.__name__}` |\n"
            for error in by_kind[kind]
        ]
    return "".join(parts)


def all_errors() -> list[type[FirstlightError]]:
    """Every error class of the package, by code."""
    for module in pkgutil.walk_packages(firstlight.__path__, "firstlight."):
        if not module.name.startswith(NOT_IMPORTED):
            importlib.import_module(module.name)
    ours = {each for each in _below(FirstlightError) if each.__module__.startswith("firstlight.")}
    return sorted(ours, key=lambda error: (error.code, error.__name__))


def message(error: type[FirstlightError]) -> str:
    """What people read where the place that raises it has nothing better to say."""
    return inspect.cleandoc(error.__doc__ or "").partition("\n")[0]


def _below(error: type[FirstlightError]) -> Iterator[type[FirstlightError]]:
    for each in error.__subclasses__():
        yield each
        yield from _below(each)


if __name__ == "__main__":
    main()
