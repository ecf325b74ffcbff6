"""`observations`: sequences of exposures of one field."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

__all__ = ["observations"]

observations = typer.Typer(
    no_args_is_help=True, help="Observations: list, show, and files for wget."
)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Name = Annotated[str, typer.Argument(help="Its id, or the camera's name of the sequence.")]

LIST_COLUMNS = (
    ("observation", "id"),
    ("unit", "unit_id"),
    ("camera", "camera_id"),
    ("night", "night"),
    ("field", "field"),
    ("filter", "filter"),
    ("seconds", "exptime"),
    ("images", "image_count"),
    ("total s", "total_exptime"),
    ("status", "state"),
)
IMAGE_COLUMNS = (
    ("image", "id"),
    ("time", "imgtime"),
    ("seconds", "exptime"),
    ("airmass", "airmass"),
    ("state", "state"),
    ("files", "n_files"),
)


@observations.command("list")
@guarded
def list_observations(
    context: typer.Context,
    conditions: Annotated[
        list[str] | None,
        typer.Argument(help="KEY=VALUE: days, since, until, unit, field, status, min_images, ..."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Observations, the newest night first; all conditions hold together.

    Example: [bold]firstlight -w mynight observations list unit=PAN001 days=30 status=done[/]
    """
    from firstlight.services.finding.observation_query import (  # noqa: PLC0415, loads numerical libraries
        ObservationQuery,
    )

    service = open_workspace(context).observations
    page = service.find(ObservationQuery.of(**_by_name(conditions or [])))
    if as_json:
        print_json(page.as_dict())
        return
    if not page.items:
        out.print("no observation fits")
        return
    print_table(table_of(page.items, LIST_COLUMNS))
    if page.next is not None:
        notes.print(f"more: cursor={escape(page.next)}", highlight=False, soft_wrap=True)


@observations.command("show")
@guarded
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """One observation with its images and files.

    Example: [bold]firstlight -w mynight observations show PAN001_14d3bd_20180216T110623[/]
    """
    found = open_workspace(context).observations.one(name)
    if as_json:
        print_json(found)
        return
    items = found["items"]
    for key, value in items["sequence"].items():
        line = f"{key:<16} {'' if value is None else value}"
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    images = [{**row, "n_files": len(row["files"])} for row in items["images"]]
    print_table(table_of(images, IMAGE_COLUMNS))
    for file in items["files"]:
        out.print(f"{file['role']:<16} {file['url']}", markup=False, highlight=False)


@observations.command("files")
@guarded
def files(
    context: typer.Context,
    name: Name,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only files that end so; may be repeated.")
    ] = None,
) -> None:
    """Keys of all files of one observation, one a line, in order of time.

    Example: [bold]firstlight -w mynight observations files PAN001_14d3bd_20180216T110623[/]
    """
    listed = open_workspace(context).observations.file_list(name, kinds=kind or ())
    out.print(listed.text, end="", markup=False, highlight=False, soft_wrap=True)


def _by_name(conditions: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for condition in conditions:
        name, equal, value = condition.partition("=")
        if not equal:
            raise InvalidInput(
                found=condition, expected="KEY=VALUE, such as unit=PAN001", field="conditions"
            )
        found[name.strip()] = value
    return found
