"""Analysis services that installed packages offer, to run in workers of this system."""

# ruff: noqa: PLC0415, a command loads only what it needs

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firstlight.analysis_kit import ServiceDeclaration

__all__ = ["local_declarations", "local_document", "local_functions", "local_names"]

_GROUP = "firstlight.analyses"


def local_names() -> set[str]:
    """Their names."""
    return set(local_functions())


def local_functions() -> dict[str, str]:
    """``module:function``, or the module, of each."""
    return {each.name: each.value for each in entry_points(group=_GROUP)}


def local_declarations() -> Mapping[str, ServiceDeclaration]:
    """What each says of itself; one whose libraries are missing says it, too."""
    return {name: _declaration(where) for name, where in local_functions().items()}


def local_document(name: str) -> Mapping[str, Any]:
    """What one of them says of itself: the body of ``POST /api/analysis_service``."""
    from firstlight.services.analyses.service_fields import LOCAL

    return _declaration(local_functions()[name]).as_document(f"{LOCAL}{name}")


def _declaration(where: str) -> ServiceDeclaration:
    from firstlight.analysis_kit.loading import load

    return load(where).declaration
