"""`object`: things in the sky, in lists and one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace, the_operator
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from firstlight.services.objects.object_list import ObjectRow

__all__ = ["objects"]

objects = typer.Typer(no_args_is_help=True, help="Objects: list, show, add, save to a group.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Name = Annotated[str, typer.Argument(help="Its name; see object list.")]

COLUMNS = (
    ("name", "name"),
    ("ra", "ra"),
    ("dec", "dec"),
    ("points", "n_points"),
    ("last mag", "last_mag"),
    ("filter", "last_filter"),
    ("peak", "peak_mag"),
    ("classes", "classes"),
    ("groups", "groups"),
)


@objects.command("list")
@guarded
def list_objects(  # noqa: PLR0913, the options of a command
    context: typer.Context,
    *,
    name: Annotated[str | None, typer.Option(help="Part of the name.")] = None,
    cone: Annotated[
        str | None, typer.Option(metavar="RA,DEC,RADIUS", help="Degrees, with commas between.")
    ] = None,
    classification: Annotated[
        list[str] | None, typer.Option("--class", help="Has this class; may be repeated.")
    ] = None,
    brighter: Annotated[float | None, typer.Option(help="Last detected at this or less.")] = None,
    fainter: Annotated[float | None, typer.Option(help="Last detected at this or more.")] = None,
    sort: Annotated[str, typer.Option(help="name, last_mag, n_points, ...")] = "created_at",
    descending: Annotated[
        bool, typer.Option("--descending/--ascending", help="Which end comes first.")
    ] = True,
    limit: Annotated[int, typer.Option(help="How many at most, up to 500.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after a list before.")] = None,
    as_json: Json = False,
) -> None:
    """List objects, the newest first.

    Example: [bold]firstlight -w mynight object list --cone 31.04,46.69,0.1 --sort last_mag[/]
    """
    from firstlight.services.objects.object_query import ObjectQuery, Order  # noqa: PLC0415, loads much

    query = ObjectQuery(
        name=name,
        cone=None if cone is None else _cone(cone),
        classifications=tuple(classification or ()),
        last_mag=(fainter, brighter),
    )
    page = open_workspace(context).object_list.search(
        the_operator(), query, Order(sort, descending), cursor=cursor, limit=limit
    )
    rows = [_row(row) for row in page.rows]
    if as_json:
        print_json({"objects": rows, "next_cursor": page.next_cursor})
        return
    if not rows:
        out.print("no such objects; next: firstlight reduce, or firstlight object add")
        return
    print_table(table_of(rows, COLUMNS))
    if page.next_cursor:
        notes.print(f"there are more: --cursor {page.next_cursor}", soft_wrap=True)


@objects.command("show")
@guarded
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show what is known of an object.

    Example: [bold]firstlight -w mynight object show "FL J020410.28+464116.2"[/]
    """
    from firstlight.services.objects.object_parts import Include  # noqa: PLC0415, loads much

    everything = Include(comments=True, thumbnails=True, statistics=True, spectrum_exists=True)
    facts = open_workspace(context).objects.one(the_operator(), name, everything)
    if as_json:
        print_json(facts)
        return
    told = ("id", "ra", "dec", "gal_lon", "gal_lat", "redshift", "origin", "summary", "alias")
    rows = [{"what": key, "value": facts[key]} for key in told if facts[key] is not None]
    statistics: dict[str, Any] = next(iter(facts["photstats"]), {})
    shown = ("num_obs_global", "num_det_global", "last_detected_mag", "last_detected_filter",
             "peak_mag_global", "mean_mag_global")  # fmt: skip
    rows += [{"what": key, "value": statistics[key]} for key in shown if statistics.get(key)]
    rows += [
        {"what": "class", "value": f"{each['classification']} ({each['probability']})"}
        for each in facts["classifications"]
    ]
    rows += [{"what": "saved by", "value": each["name"]} for each in facts["groups"]]
    rows += [{"what": "tag", "value": each["name"]} for each in facts["tags"]]
    rows += [{"what": "comment", "value": each["text"]} for each in facts["comments"]]
    print_table(table_of(rows, (("", "what"), ("", "value"))))


# A southern declination begins with a hyphen: it is no option.
@objects.command("add", context_settings={"ignore_unknown_options": True})
@guarded
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Letters, digits and _ - ; : + . without spaces.")],
    ra: Annotated[float, typer.Argument(help="Degrees, ICRS.")],
    dec: Annotated[float, typer.Argument(help="Degrees, ICRS.")],
    *,
    group: Annotated[
        list[str] | None, typer.Option(help="Name of a group that sees it; may be repeated.")
    ] = None,
    redshift: Annotated[float | None, typer.Option(help="Its redshift.")] = None,
    as_json: Json = False,
) -> None:
    """Add an object. Without a group, only those who see everything see it.

    Example: [bold]firstlight -w mynight object add HAT-P-32 31.0428 46.6878 --group transits[/]
    """
    house, me = open_workspace(context), the_operator()
    groups = [house.groups.number_of(me, each) for each in group or ()]
    body = {"id": name, "ra": ra, "dec": dec, "group_ids": groups, "redshift": redshift}
    made = house.objects.post(me, body)
    if as_json:
        print_json(made)
    else:
        out.print(f"{escape(made['id'])} is there", highlight=False)


@objects.command("save")
@guarded
def save(
    context: typer.Context,
    name: Name,
    group: Annotated[list[str], typer.Option(help="Name of a group; may be repeated.")],
) -> None:
    """Put an object into the lists of groups; their members see it from then on.

    Example: [bold]firstlight -w mynight object save HAT-P-32 --group transits[/]
    """
    house, me = open_workspace(context), the_operator()
    groups = [house.groups.number_of(me, each) for each in group]
    house.saved_objects.change(me, name, invite=groups)
    out.print(f"{escape(name)} is saved", highlight=False)


@objects.command("summarise")
@guarded
def summarise(context: typer.Context) -> None:
    """Make the statistics of light curves that have none, as of an older workspace.

    Example: [bold]firstlight -w mynight object summarise[/]
    """
    made = open_workspace(context).summaries.make_missing()
    out.print(f"{made} light curves summarised", highlight=False)


def _row(row: ObjectRow) -> dict[str, Any]:
    numbers = row.numbers or {}
    return {
        "name": row.name,
        "ra": round(row.ra, 6),
        "dec": round(row.dec, 6),
        "redshift": row.redshift,
        "n_points": numbers.get("n_points", 0),
        "last_mag": numbers.get("last_detected_mag"),
        "last_filter": numbers.get("last_detected_filter"),
        "peak_mag": numbers.get("peak_mag"),
        "classes": [name for name, _ in row.classes],
        "groups": [name for _, name in row.groups],
    }


def _cone(text: str) -> tuple[float, float, float]:
    try:
        ra, dec, radius = (float(part) for part in text.split(","))
    except ValueError as fault:
        raise InvalidInput(field="cone", found=text, expected="RA,DEC,RADIUS in degrees") from fault
    return ra, dec, radius
