"""`reference`: build, list, choose, retire, restore."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import (
    guarded,
    notes,
    out,
    print_json,
    print_table,
    waiting,
)
from firstlight.cli.opening import open_workspace
from firstlight.cli.reduction import run_stages
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firstlight.services.references.building import ReferencePlan
    from firstlight.services.references.shelf import ReferenceEntry, SectionChoice

__all__ = ["references"]

references = typer.Typer(
    no_args_is_help=True, help="References: how the sky was, for `reduce` to find what changed."
)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Ident = Annotated[str, typer.Argument(help="Its id, or the beginning of it.")]

COLUMNS = (
    ("id", "short_id"),
    ("field", "field"),
    ("camera", "instrument"),
    ("section", "section"),
    ("filter", "filter"),
    ("version", "version"),
    ("images", "images"),
    ("first", "first"),
    ("last", "last"),
    ("seeing″", "seeing"),
    ("depth", "depth"),
    ("method", "method"),
    ("in use", "usable"),
)
SPARE = ("first", "method", "camera", "images")
CHOICE_COLUMNS = (
    ("section", "section"),
    ("reference", "short_id"),
    ("field", "field"),
    ("of section", "of_section"),
    ("version", "version"),
    ("overlap", "overlap"),
    ("", "verdict"),
)


@references.command("build")
@guarded
def build(  # noqa: PLR0913, PLR0917, each option of the command is one
    context: typer.Context,
    field: Annotated[
        str | None, typer.Option(help="Target of the exposures; default all fields.")
    ] = None,
    band: Annotated[str | None, typer.Option("--filter", help="Of this filter only.")] = None,
    instrument: Annotated[str | None, typer.Option(help="Of this camera only.")] = None,
    section: Annotated[str | None, typer.Option(help="This section only.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First night, such as 2026-01-15.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last night, included.")
    ] = None,
    min_images: Annotated[int, typer.Option(help="Fewer give no reference.", min=1)] = 3,
    max_images: Annotated[int, typer.Option(help="Of more, the best.", min=1)] = 30,
    max_seeing: Annotated[
        float | None, typer.Option(metavar="ARCSEC", help="Only images at least as sharp.")
    ] = None,
    min_depth: Annotated[
        float | None, typer.Option(metavar="MAG", help="Only images at least as deep.")
    ] = None,
    method: Annotated[str, typer.Option(help="weighted, clipped or proper.")] = "clipped",
    workers: Annotated[
        int | None, typer.Option(help="Worker processes; default one a core.", min=1)
    ] = None,
    as_json: Json = False,
) -> None:
    """Put solved, calibrated exposures together: a reference of each field, section and filter.

    The best images by seeing and depth are laid on the pixels of the best one. A build of other
    images is a new version; the same images and parameters give the same reference again.
    Afterwards, [bold]reduce[/] goes on to what changed.

    Example: [bold]firstlight -w survey reference build --to 2026-01-15[/]
    """
    from firstlight.services.references.wish import ReferenceWish  # noqa: PLC0415, pydantic

    wish = ReferenceWish.of(
        field=field, filter=band, instrument=instrument, section=section,
        first_night=_night("--from", first), last_night=_night("--to", last),
        min_images=min_images, max_images=max_images, max_seeing=max_seeing,
        min_depth=min_depth, method=method,
    )  # fmt: skip
    with waiting("looking for images"):
        factory = open_workspace(context)
        plan = factory.reference_building.plan(wish)
        jobs = factory.reference_jobs(plan, workers)
    with jobs.running() as work:
        run_stages(work.stages(), "starting")
    failures = work.report().failures
    ids = [each.reference_id for each in plan.references if each.reference_id is not None]
    _tell_built(plan, factory.reference_shelf.entries(ids), failures, as_json=as_json)
    if failures:
        raise typer.Exit(1)


@references.command("list")
@guarded
def list_references(context: typer.Context, as_json: Json = False) -> None:
    """All references: field, section, filter, version, seeing, depth, and whether in use.

    Example: [bold]firstlight -w survey reference list[/]
    """
    entries = open_workspace(context).reference_shelf.entries()
    if as_json:
        print_json([entry.as_dict() for entry in entries])
        return
    if not entries:
        out.print("no references yet; next: firstlight -w WORKSPACE reference build")
        return
    print_table(table_of(map(_row, entries), COLUMNS, SPARE))


@references.command("choose")
@guarded
def choose(
    context: typer.Context,
    exposure: Annotated[str, typer.Argument(help="Name of its file, or its id.")],
    section: Annotated[str | None, typer.Option(help="This section only.")] = None,
    as_json: Json = False,
) -> None:
    """Which reference an exposure is compared with, and why not with the others.

    Example: [bold]firstlight -w survey reference choose mosaic_20260118_r_001.fits[/]
    """
    choices = open_workspace(context).reference_shelf.choose(exposure, section)
    if as_json:
        print_json([choice.as_dict() for choice in choices])
        return
    rows = [row for choice in choices for row in _choice_rows(choice)]
    print_table(table_of(rows, CHOICE_COLUMNS))


@references.command("retire")
@guarded
def retire(context: typer.Context, name: Ident, as_json: Json = False) -> None:
    """Take a reference out of use; nothing is deleted.

    The next [bold]reduce[/] compares with the one before, or not at all.

    Example: [bold]firstlight -w survey reference retire 81c2d0[/]
    """
    _set_usable(context, name, usable=False, as_json=as_json)


@references.command("restore")
@guarded
def restore(context: typer.Context, name: Ident, as_json: Json = False) -> None:
    """Take a retired reference into use again.

    Example: [bold]firstlight -w survey reference restore 81c2d0[/]
    """
    _set_usable(context, name, usable=True, as_json=as_json)


def _set_usable(context: typer.Context, name: str, *, usable: bool, as_json: bool) -> None:
    entry = open_workspace(context).reference_shelf.set_usable(name, usable)
    if as_json:
        print_json(entry.as_dict())
        return
    state = "in use" if usable else "out of use"
    title = f"{entry.field}, section {entry.section}, version {entry.version}"
    out.print(
        f"{entry.short_id} ({title}) is {state}; next: firstlight reduce",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def _tell_built(
    plan: ReferencePlan, entries: Sequence[ReferenceEntry], failures: list[str], *, as_json: bool
) -> None:
    there = {str(each.reference_id) for each in plan.references if each.is_there}
    if as_json:
        print_json(
            {
                "built": [each.as_dict() for each in entries if each.id not in there],
                "there_already": [each.as_dict() for each in entries if each.id in there],
                "impossible": [
                    {"field": each.title, "images": list(each.images), "left_out": each.left_out}
                    for each in plan.impossible
                ],
                "failures": failures,
            }
        )
        return
    if entries:
        print_table(table_of(map(_row, entries), COLUMNS, SPARE))
    built = len(entries) - sum(entry.id in there for entry in entries)
    out.print(f"{built} built, {len(there)} there already", highlight=False)
    for entry in entries:
        if not entry.usable:
            notes.print(
                f"[yellow]retired[/] {entry.short_id}: firstlight reference restore brings it back",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
    for each in plan.impossible:
        notes.print(
            f"[yellow]too few images[/] {escape(each.title)}: {len(each.images)}; "
            + escape("; ".join(f"{name}: {why}" for name, why in each.left_out.items())),
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    for line in failures:
        notes.print(f"[yellow]failed[/] {escape(line)}", soft_wrap=True, highlight=False)


def _row(entry: ReferenceEntry) -> dict[str, Any]:
    """Nights by their MJD, numbers as short as they are worth."""
    return {
        **entry.as_dict(),
        "first": round(entry.mjd_start, 2),
        "last": round(entry.mjd_end, 2),
        "seeing": entry.seeing and round(entry.seeing, 2),
        "depth": entry.depth and round(entry.depth, 2),
    }


def _choice_rows(choice: SectionChoice) -> list[dict[str, Any]]:
    if not choice.considered:
        return [{"section": choice.section, "verdict": f"none: {choice.reason}"}]
    used = "used, though later than the image" if choice.is_later else "used"
    return [
        {
            "section": choice.section,
            "short_id": entry.short_id,
            "field": entry.field,
            "of_section": entry.section,
            "version": entry.version,
            "overlap": "" if overlap is None else f"{100 * overlap:.0f} %",
            "verdict": f"no: {why}" if why else used,
        }
        for entry, overlap, why in choice.considered
    ]


def _night(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as fault:
        expected = "a date such as 2026-01-15"
        raise InvalidInput(field=option, found=text, expected=expected) from fault
