"""Write docs/settings.md: every key with its default, what it may be, and what it means.

Usage: ``python tools/document_settings.py``

The facts come from the settings classes themselves: types, defaults and limits from pydantic, the
meaning from the description of a field or from the docstring below it. A test compares the page
with what this script writes.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from firstlight.config import Settings
from firstlight.services.expiry.expiration_rules import age_in_words

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

PROLOGUE = """\
# Settings

`firstlight init` writes `firstlight.toml` into the workspace with the keys that nearly everyone
has. All others may be added by hand. A key that does not exist is an error that names the
nearest one that does.

```toml
[recipe.find_sources]
threshold = 5.0

[instruments.GenericFITS]
gain = 0.4          # counts more than the header

[catalogs]
photometry = "refcat2"
```

The environment goes before the file: `FIRSTLIGHT_` and the key in capitals, with two underscores
where the file has a dot, for example `FIRSTLIGHT_RECIPE__FIND_SOURCES__THRESHOLD=5`.

What is under `recipe`, `light_curves` and `instruments`, and the release of the reference
catalogues, is part of the provenance of products: change it, and the next `firstlight reduce` makes
new products from that step on, beside the old ones. What is under `calibration` decides which
masters a section gets; another master makes another product, too. The other keys change where
things are kept and how the work is run.

Secrets belong in the environment: `FIRSTLIGHT_STORAGE__SECRET_ACCESS_KEY`.

This page is written by `tools/document_settings.py` from the code.
"""

LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
NAMES = {
    str: "text",
    SecretStr: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    timedelta: "age",
}


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page."""
    return PROLOGUE + "".join(_table("", Settings, {}))


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What each field means: its description, or the docstring below it; empty without either."""
    told: dict[str, str] = {}
    for cls in reversed([each for each in model.__mro__ if issubclass(each, BaseModel)]):
        if cls.__module__.startswith("firstlight"):
            told |= _docstrings_of_fields(cls)
    return {
        key: _sentence(field.description or told.get(key, ""))
        for key, field in model.model_fields.items()
    }


def _table(name: str, model: type[BaseModel], shown: dict[type[BaseModel], str]) -> Iterator[str]:
    """The heading and rows of one model, then those of the models below it."""
    if model in shown:
        yield f"\n## [{name}]\n\nThe same keys as [{shown[model]}].\n"
        return
    shown[model] = name
    told = meanings(model)
    rows, below = [], []
    for key, field in model.model_fields.items():
        inner = _model_within(field.annotation)
        path = f"{name}.{key}" if name else key
        listed = get_origin(field.annotation) is tuple
        if inner is None or listed:
            rows.append(f"| `{key}` | {_default(field)} | {_allowed(field)} | {told[key]} |\n")
        if inner is not None:
            below.append((path + _suffix(field.annotation), inner))
    if name:
        title = f"[[{name[:-2]}]]" if name.endswith("[]") else f"[{name}]"
        about = inspect.cleandoc(model.__doc__ or "").replace("``", "`")
        yield f"\n## {title}\n\n{about}\n"
    if rows:
        yield "\n| key | default | may be | meaning |\n|---|---|---|---|\n"
        yield from rows
    for path, inner in below:
        yield from _table(path, inner, shown)


def _suffix(annotation: Any) -> str:
    """What follows the name of a setting whose tables have names, or are many."""
    if _is_mapping(annotation):
        return ".NAME"
    return "[]" if get_origin(annotation) is tuple else ""


def _docstrings_of_fields(cls: type[BaseModel]) -> dict[str, str]:
    """The strings that stand below annotated names in the source of a class."""
    body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101, the source of a class is a class
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(text.value.value)
    return found


def _sentence(text: str) -> str:
    """One line that begins with a capital and ends with a full stop."""
    line = " ".join(text.split())
    if not line:
        return ""
    # An address stays as it is written.
    start = line[0] if "://" in line.split()[0] else line[0].upper()
    return start + line[1:] + ("" if line.endswith(".") else ".")


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The model that a field is, or that it holds by name or in a list."""
    if get_origin(annotation) is tuple:
        wanted = get_args(annotation)[0]
    else:
        wanted = get_args(annotation)[1] if _is_mapping(annotation) else annotation
    return wanted if isinstance(wanted, type) and issubclass(wanted, BaseModel) else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    if field.default_factory is not None:
        made = field.get_default(call_default_factory=True)
        return "of this machine" if isinstance(made, Path) else f"`{_toml(made)}`"
    return "not set" if field.default is None else f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {_toml(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, BaseModel):
        return _toml({key: each for key, each in value if each is not None})
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, timedelta):
        return json.dumps(age_in_words(value))
    return json.dumps(value)


def _allowed(field: FieldInfo) -> str:
    limits = [
        f"{word} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, word in LIMITS.items()
        if hasattr(limit, name)
    ]
    return " ".join([_kind(field.annotation), ", ".join(limits)]).strip()


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{_toml(value)}`" for value in inner)
    if origin in (Union, UnionType, Annotated):
        wanted = inner[:1] if origin is Annotated else inner
        return " or ".join(_kind(each) for each in wanted if each is not NoneType)
    if origin is tuple:
        return f"list of {_kind(inner[0])}s" if inner[-1] is Ellipsis else f"{len(inner)} names"
    if _is_mapping(annotation):
        return f"tables of {_kind(inner[1])}"
    return "table" if _model_within(annotation) else NAMES[annotation]


if __name__ == "__main__":
    main()
