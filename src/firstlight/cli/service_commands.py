"""`analysis add`, `list`, `run` and the like: the services of a workspace, and their runs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.analysis_commands import analysis
from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from firstlight.factory import Factory
    from firstlight.services.access import Viewer

__all__ = ["analysis"]

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Service = Annotated[str, typer.Argument(help="Name or number of the service.")]
As = Annotated[
    str | None, typer.Option("--as", help="Username of whom it is; the workspace's own if none.")
]
_EVERYONE = "Sitewide Group"
_EVERY_S = 0.5
_SERVICES = (
    ("number", "id"),
    ("name", "name"),
    ("version", "version"),
    ("kind", "analysis_type"),
    ("works on", "input_data_types"),
    ("address", "url"),
    ("enabled", "enabled"),
    ("groups", "group_names"),
)
_RUNS = (
    ("number", "id"),
    ("object", "obj_id"),
    ("service", "analysis_service_name"),
    ("status", "status"),
    ("begun (UTC)", "begun"),
    ("message", "status_message"),
)


@analysis.command("add")
@guarded
def add(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="local:NAME, or a file of JSON as describe writes it; - to read.")
    ],
    name: Annotated[str | None, typer.Option(help="Unique; else as it says itself.")] = None,
    url: Annotated[str | None, typer.Option(help="Where it answers; else as it says.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(help=f"Who may run it; repeatable, else {_EVERYONE}.")
    ] = None,
    secret_from: Annotated[
        Path | None,
        typer.Option(help='File of JSON: {"header_token": {"Authorization": "Bearer ..."}}.'),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register a service: one that is installed here, or one that answers elsewhere.

    Example: [bold]firstlight -w mynight analysis add local:supernova --group supernovae[/]
    """
    house = open_workspace(context)
    me = house.acting_as()
    given = _document(house, what)
    given |= {key: each for key, each in (("name", name), ("url", url)) if each is not None}
    if secret_from is not None:
        info = _parsed(secret_from.read_text(encoding="utf-8"), str(secret_from))
        given |= {"authentication_type": next(iter(info), ""), "_authinfo": info}
    given["group_ids"] = [house.groups.number_of(me, each) for each in group or [_EVERYONE]]
    number = house.analysis_services.create(me, given)
    if as_json:
        print_json({"id": number})
        return
    out.print(f"service {number}, {escape(given['name'])}, is registered", highlight=False)
    notes.print(f"next: firstlight analysis run {number} OBJECT", highlight=False)


@analysis.command("add-shipped")
@guarded
def add_shipped(context: typer.Context, as_json: Json = False) -> None:
    """Register the services that come with firstlight, and bring them up to date.

    Example: [bold]firstlight -w mynight analysis add-shipped[/]
    """
    house = open_workspace(context)
    done = house.shipped_services.add(house.acting_as())
    if as_json:
        print_json(done)
        return
    for name, what in done.items():
        out.print(f"{escape(name)}: {what}", highlight=False)


@analysis.command("list")
@guarded
def list_services(context: typer.Context, as_json: Json = False) -> None:
    """All services, in the order in which they were registered.

    Example: [bold]firstlight -w mynight analysis list[/]
    """
    house = open_workspace(context)
    rows = house.analysis_services.list(house.acting_as())
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("no services yet; next: firstlight analysis add local:supernova")
    else:
        for row in rows:
            row["group_names"] = [each["name"] for each in row["groups"]]
        print_table(table_of(rows, _SERVICES))


@analysis.command("show")
@guarded
def show(context: typer.Context, service: Service, as_json: Json = False) -> None:
    """One service and the parameters it takes; never its secrets.

    Example: [bold]firstlight -w mynight analysis show supernova[/]
    """
    house = open_workspace(context)
    me = house.acting_as()
    number = _number(house, me, service)
    known = house.analysis_services
    facts = {**known.get(me, number), **known.details(me, number)}
    if as_json:
        print_json(facts)
        return
    groups = ", ".join(each["name"] for each in facts.pop("groups"))
    fields = facts.pop("fields")
    del facts["optional_analysis_parameters"]
    for key, value in {**facts, "groups": groups}.items():
        out.print(f"{key}: {value}", markup=False, highlight=False)
    columns = [(each, each) for each in ("name", "type", "choices", "default", "required")]
    if fields:
        print_table(table_of(fields, columns))


@analysis.command("enable")
@guarded
def enable(context: typer.Context, service: Service) -> None:
    """Let a service run again.

    Example: [bold]firstlight -w mynight analysis enable supernova[/]
    """
    _switch(context, service, on=True)


@analysis.command("disable")
@guarded
def disable(context: typer.Context, service: Service) -> None:
    """Let a service rest; it is kept with all that it has found.

    Example: [bold]firstlight -w mynight analysis disable supernova[/]
    """
    _switch(context, service, on=False)


@analysis.command("remove")
@guarded
def remove(context: typer.Context, service: Service) -> None:
    """Take a service away. What it has found stays; runs that wait for it are cancelled.

    Example: [bold]firstlight -w mynight analysis remove supernova[/]
    """
    house = open_workspace(context)
    me = house.acting_as()
    house.analysis_services.remove(me, _number(house, me, service))
    out.print(f"the service {escape(service)} is removed", highlight=False)


@analysis.command("run")
@guarded
def run(
    context: typer.Context,
    service: Service,
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="Name of the object.")],
    param: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeatable.")] = None,
    username: As = None,
    wait: Annotated[
        float | None, typer.Option(help="Wait so many seconds for the results.", min=0)
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a service on an object. A worker, or firstlight serve, sends it off.

    Exit code 1 where it was waited for and has not completed.

    Example: [bold]firstlight -w mynight analysis run supernova SN2026a --param z=0.02 --wait 60[/]
    """
    from firstlight.services.analyses.analyses_start import (  # noqa: PLC0415, loads the database
        RunWish,
    )

    house = open_workspace(context)
    me = house.acting_as(username)
    number = _number(house, me, service)
    parameters = dict(_pair(each) for each in param or ())
    begun = house.analysis_starter.start(
        me,
        name,
        number,
        RunWish(
            analysis_parameters=parameters, show_parameters=True, show_plots=True, show_corner=True
        ),
    )
    facts = _waited(house, me, begun, wait or 0.0)
    if as_json:
        print_json(facts)
    else:
        told = f": {facts['status_message']}" if facts["status_message"] else ""
        line = f"run {begun} is {facts['status']}{escape(told)}"
        out.print(line, highlight=False, soft_wrap=True)
    if wait is not None and facts["status"] != "completed":
        raise typer.Exit(1)


@analysis.command("runs")
@guarded
def runs(
    context: typer.Context,
    name: Annotated[str | None, typer.Option("--object", help="Only of this object.")] = None,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, pending, completed, ...")] = None,
    limit: Annotated[int, typer.Option(help="So many, the newest.", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """Runs of services, the newest first.

    Example: [bold]firstlight -w mynight analysis runs --status failure[/]
    """
    from firstlight.services.analyses.analyses import RunQuery  # noqa: PLC0415, loads the database

    house = open_workspace(context)
    me = house.acting_as()
    number = None if service is None else _number(house, me, service)
    query = RunQuery(object_name=name, service_id=number, status=status, per_page=limit)
    rows, total = house.analyses.list(me, query)
    if as_json:
        print_json({"analyses": rows, "totalMatches": total})
    elif not rows:
        out.print("no such runs")
    else:
        begun = [{"begun": each["created_at"][:19].replace("T", " ")} for each in rows]
        print_table(table_of([a | b for a, b in zip(rows, begun, strict=True)], _RUNS))
        if total > len(rows):
            notes.print(f"{total - len(rows)} more; see --limit", highlight=False)


def _document(house: Factory, what: str) -> dict[str, Any]:
    from firstlight.services.analyses.service_fields import LOCAL  # noqa: PLC0415, starts fast

    if what.startswith(LOCAL):
        return house.analysis_services.local_document(what.removeprefix(LOCAL))
    text = sys.stdin.read() if what == "-" else Path(what).read_text(encoding="utf-8")
    return _parsed(text, what)


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found:
        raise InvalidInput("this is no JSON object", subject=where)
    return found


def _number(house: Factory, me: Viewer, service: str) -> int:
    if service.isascii() and service.isdigit() and len(service) < len(str(2**31)):
        return int(service)
    return house.analysis_services.named(me, service)


def _switch(context: typer.Context, service: str, *, on: bool) -> None:
    house = open_workspace(context)
    me = house.acting_as()
    house.analysis_services.change(me, _number(house, me, service), {"enabled": on})
    word = "enabled" if on else "disabled"
    out.print(f"the service {escape(service)} is {word}", highlight=False)


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise InvalidInput(field="param", found=text[:100], expected="NAME=VALUE")
    return name, value


def _waited(house: Factory, me: Viewer, number: int, seconds: float) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        facts = house.analyses.get(me, number)
        if facts["status"] not in {"queued", "pending"} or time.monotonic() >= end:
            return facts
        time.sleep(min(_EVERY_S, max(end - time.monotonic(), 0.0)))
