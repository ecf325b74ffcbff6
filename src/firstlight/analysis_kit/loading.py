"""Finding an author's function: by module, or by file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.inputs import Inputs
from firstlight.analysis_kit.progress import Progress

__all__ = ["LoadedService", "NotAService", "load"]

DEFAULT_FUNCTION = "fit"


class NotAService(Exception):
    """There is no function of that name; the message says what there is."""


@dataclass(frozen=True)
class LoadedService:
    """A function and what it says of itself.

    Attributes
    ----------
    function
        Of `Inputs`, or of `Inputs` and `Progress`.
    is_declared
        Whether the author wrote the declaration: its parameters are checked then.
    """

    function: Callable[..., Any]
    declaration: ServiceDeclaration
    is_declared: bool = True

    def __call__(self, inputs: Inputs, progress: Progress) -> Any:
        """Call the function with as many arguments as it takes."""
        takes = inspect.signature(self.function).parameters.values()
        places = [each for each in takes if each.kind in _BY_PLACE]
        takes_two = len(places) > 1 or any(each.kind is each.VAR_POSITIONAL for each in takes)
        return self.function(inputs, progress) if takes_two else self.function(inputs)


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def load(name: str) -> LoadedService:
    """Import ``module:function`` or ``file.py:function``; the function is ``fit`` if none is named.

    A `ServiceDeclaration` called ``SERVICE`` in the module declares the service. Without one it
    has the name of the function, its docstring, and photometry and redshift as inputs.

    Raises
    ------
    NotAService
        There is no such module, file or function. What the module itself raises passes through.
    """
    where, _, wanted = name.rpartition(":") if ":" in name else (name, "", DEFAULT_FUNCTION)
    wanted = wanted or DEFAULT_FUNCTION
    module = _from_file(Path(where)) if where.endswith(".py") else _from_name(where)
    function = getattr(module, wanted, None)
    if not callable(function):
        there = [
            each
            for each, found in vars(module).items()
            if inspect.isfunction(found) and found.__module__ == module.__name__
        ]
        raise NotAService(f"{where} has no function {wanted}; it has {', '.join(there) or 'none'}")
    declared = getattr(module, "SERVICE", None)
    if isinstance(declared, ServiceDeclaration):
        return LoadedService(function, declared)
    undeclared = ServiceDeclaration(
        name=wanted if wanted != DEFAULT_FUNCTION else module.__name__.rpartition(".")[2],
        description=inspect.getdoc(function) or inspect.getdoc(module) or "",
        input_data_types=("photometry", "redshift"),
    )
    return LoadedService(function, undeclared, is_declared=False)


def _from_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise NotAService(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101, it has a loader for every .py
    assert spec.loader is not None  # noqa: S101, likewise
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise NotAService(f"{name!r} is the name of no module")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as fault:
        # A module that the author's own module needs is another matter: that one passes through.
        if fault.name is not None and (name == fault.name or name.startswith(f"{fault.name}.")):
            raise NotAService(f"there is no module {name}, or give a file: my_service.py") from None
        raise
