"""`transient`: what changed in the sky, in lists and object by object."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of

__all__ = ["transients"]

transients = typer.Typer(
    no_args_is_help=True, help="What changed in the sky: list, show, measure everywhere."
)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Name = Annotated[str, typer.Argument(metavar="OBJECT", help="Its name; see transient list.")]

SPARE = ("filter",)
COLUMNS = (
    ("object", "object"),
    ("mjd", "mjd"),
    ("filter", "filter"),
    ("ra", "ra"),
    ("dec", "dec"),
    ("score", "score"),
    ("mag", "mag"),
    ("real", "real"),
    ("known as", "known_as"),
    ("not kept because", "why_not"),
)
MISSING_COLUMNS = (
    ("images", "images"),
    ("without a point because", "reason"),
    ("such as", "examples"),
)
NOTHING_YET = (
    "nothing yet; next: firstlight reference build, then firstlight reduce; "
    "firstlight reference choose EXPOSURE tells what one is compared with, or why with nothing"
)
FORCED = {
    "is_followed": "measured everywhere",
    "is_complete": "and that is done",
    "n_points": "points of that",
    "first_mjd": "first, mjd",
    "last_mjd": "last, mjd",
}
_DIGITS = {"mjd": 5, "ra": 6, "dec": 6, "score": 1, "mag": 2, "mag_err": 2, "real": 2}


@transients.command("list")
@guarded
def list_transients(
    context: typer.Context,
    *,
    kept: Annotated[bool, typer.Option("--kept", help="Only what nothing speaks against.")] = False,
    since: Annotated[
        datetime | None, typer.Option(help="Only of images taken from then on, UTC.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Only of at least this signal-to-noise ratio.")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many at most.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """List what was found in differences, the newest first.

    Example: [bold]firstlight -w mysurvey transient list --kept --since 2026-03-01[/]
    """
    from firstlight.services.transients.listing import TransientWish  # noqa: PLC0415, loads much

    then = None if since is None else since.replace(tzinfo=UTC)
    wish = TransientWish(kept=kept, since=then, min_score=min_score, limit=limit)
    rows = open_workspace(context).transients.measurements(wish)
    if as_json:
        print_json(rows)
        return
    if not rows:
        narrowed = kept or since is not None or min_score is not None
        out.print("nothing like that" if narrowed else NOTHING_YET, soft_wrap=True)
        return
    print_table(table_of([_rounded(row) for row in rows], COLUMNS, SPARE))
    if len(rows) == limit:
        notes.print(f"there may be more: --limit {10 * limit}", soft_wrap=True)


@transients.command("show")
@guarded
def show(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show an object's place, its measurements and how far forced photometry has got.

    Of the images that cover it, those without a point are counted by the reason why.

    Example: [bold]firstlight -w mysurvey transient show FL26qzkwbtm[/]
    """
    house = open_workspace(context)
    facts, account = house.transients.one(name), house.missing_points.of(name)
    facts["coverage"] = account.as_dict()
    if as_json:
        print_json(facts)
        return
    told = ("name", "ra", "dec", "error_arcsec", "origin", "known_as")
    rows = [{"what": key, "value": facts[key]} for key in told if facts[key]]
    rows += [
        {"what": FORCED.get(key, key), "value": value}
        for key, value in facts["forced"].items()
        if value is not None
    ]
    covering = f"{account.images}, {account.points} with a point"
    rows.append({"what": "images that cover it", "value": covering})
    print_table(table_of(rows, (("", "what"), ("", "value"))))
    if account.missing:
        out.print()
        missing = facts["coverage"]["missing"]
        counted = [each | {"examples": ", ".join(each["examples"])} for each in missing]
        print_table(table_of(counted, MISSING_COLUMNS, ("examples",)))
    if facts["measurements"]:
        out.print()
        print_table(table_of([_rounded(row) for row in facts["measurements"]], COLUMNS[1:]))


@transients.command("force")
@guarded
def force(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Measure an object in every difference that covers it, now and from now on.

    Differences that nothing was measured in yet wait for the next firstlight reduce.

    Example: [bold]firstlight -w mysurvey transient force HAT-P-32[/]
    """
    service = open_workspace(context).forced_photometry
    done = service.measure_objects([service.follow(name)])
    if as_json:
        print_json(done)
        return
    out.print(f"{done['points']} points are new", highlight=False)
    for line in done["failures"]:
        notes.print(line, soft_wrap=True, highlight=False, markup=False)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    digits = {key: n for key, n in _DIGITS.items() if row[key] is not None}
    return row | {key: round(row[key], n) for key, n in digits.items()}
