"""Opening the workspace that ``-w`` names, only when a command really needs the house."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from firstlight.factory import Factory
    from firstlight.services.access import Viewer

__all__ = ["open_with_workers", "open_workspace", "the_operator"]


def open_workspace(context: typer.Context) -> Factory:
    """The factory of the workspace; `--help` and errors of usage never load it."""
    from firstlight.factory import Factory  # noqa: PLC0415, loads most of the house

    return Factory.open(context.obj)


def open_with_workers(context: typer.Context) -> Factory:
    """As `open_workspace`, for a command that has workers: these load while the house does."""
    from firstlight.factory import preload_workers  # noqa: PLC0415, loads settings and the pool

    preload_workers(context.obj)
    return open_workspace(context)


def the_operator() -> Viewer:
    """Whoever may open the workspace's files may do everything."""
    from firstlight.services.access import operator  # noqa: PLC0415, loads the database's library

    return operator()
