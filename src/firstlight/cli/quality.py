"""`quality`: how good images are, and what people say is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from firstlight.cli.console import guarded, out, print_json, print_table
from firstlight.cli.opening import open_workspace, the_operator
from firstlight.cli.tables import table_of

if TYPE_CHECKING:
    from firstlight.services.quality.quality import ImageQuality

__all__ = ["quality"]

quality = typer.Typer(no_args_is_help=True, help="Quality of images: list, show, mark.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
SPARE = ('rms"', "score", "filter")
COLUMNS = (
    ("exposure", "exposure"),
    ("section", "section_id"),
    ("filter", "filter"),
    ('seeing"', "seeing"),
    ("limit", "limiting_magnitude"),
    ("noise", "noise_ratio"),
    ('rms"', "astrometric_rms"),
    ("score", "score_width"),
    ("found", "n_candidates"),
    ("kept", "n_kept"),
    ("bad", "badness"),
)
MJD_DIGITS = 10
FACTS = (
    ("exposure", "exposure", 0),
    ("section_id", "section", 0),
    ("instrument", "camera", 0),
    ("filter", "filter", 0),
    ("mjd", "MJD", MJD_DIGITS),
    ("seeing", 'seeing, "', 3),
    ("limiting_magnitude", "limit, 5 sigma", 4),
    ("sky", "sky, electrons", 4),
    ("noise_ratio", "noise over expected", 3),
    ("astrometric_rms", 'WCS rms, "', 2),
    ("zero_point", "zero point", 5),
    ("score_width", "width of the score", 4),
    ("n_sources", "sources", 0),
    ("n_candidates", "candidates", 0),
    ("n_kept", "kept", 0),
    ("badness", "bad", 0),
)
TOLD_ELSEWHERE = frozenset({"reference"})
_ROUNDED = ("seeing", "limiting_magnitude", "noise_ratio", "astrometric_rms", "score_width")


@quality.command("list")
@guarded
def show_list(
    context: typer.Context,
    instrument: Annotated[str | None, typer.Option(help="Of this camera alone.")] = None,
    bad: Annotated[bool, typer.Option("--bad", help="Only what is bad.")] = False,
    limit: Annotated[int, typer.Option(help="So many at most.", min=1, max=500)] = 50,
    as_json: Json = False,
) -> None:
    """Images, the latest first: seeing, depth, noise over that expected, what is wrong.

    Example: [bold]firstlight -w survey quality list --bad[/]
    """
    service = open_workspace(context).quality
    page = service.page(the_operator(), instrument=instrument, bad=bad, limit=limit)
    if as_json:
        print_json([each.as_dict() for each in page.images])
    elif page.images:
        print_table(table_of([_row(each) for each in page.images], COLUMNS, SPARE))
    elif bad:
        out.print("nothing is bad")
    else:
        out.print("no reports yet; next: firstlight reduce")


@quality.command("show")
@guarded
def show(
    context: typer.Context,
    exposure: Annotated[str, typer.Argument(help="Name or id of an exposure.")],
    as_json: Json = False,
) -> None:
    """Everything that is known of one exposure's images.

    Example: [bold]firstlight -w survey quality show sim-20260103-0007[/]
    """
    page = open_workspace(context).quality.page(the_operator(), exposure=exposure, limit=500)
    if not page.images:
        from firstlight.services.quality.quality import QualityMissing  # noqa: PLC0415, loads

        raise QualityMissing(subject=exposure, hint="firstlight quality list")
    if as_json:
        print_json([each.as_dict() for each in page.images])
        return
    for number, each in enumerate(page.images):
        if number:
            out.print()
        for name, text in _lines(each):
            out.print(f"{name:<22} {text}", markup=False, highlight=False, soft_wrap=True)


@quality.command("mark")
@guarded
def mark(
    context: typer.Context,
    exposure: Annotated[str, typer.Argument(help="Name or id of an exposure.")],
    bad: Annotated[
        list[str] | None,
        typer.Option(help="seeing, clouds, tracking, ...; may be repeated. None takes it back."),
    ] = None,
    section: Annotated[str | None, typer.Option(help="Of one section alone.")] = None,
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong with an exposure: everything made of it has that, too.

    Example: [bold]firstlight -w survey quality mark sim-20260103-0007 --bad clouds[/]
    """
    service = open_workspace(context).quality
    count = service.mark(the_operator(), exposure, bad or [], note=note, section=section)
    if as_json:
        print_json({"images": count, "badness": bad or []})
    else:
        out.print(f"{count} images: {', '.join(bad or []) or 'no longer marked'}", highlight=False)


def _lines(each: ImageQuality) -> list[tuple[str, str]]:
    """What is known of one image, in digits that mean something; the rest is for programs."""
    known = each.as_dict()
    lines = [(words, _written(known[name], digits)) for name, words, digits in FACTS]
    lines += [
        (name.replace("_", " "), _written(value, 5))
        for name, value in each.details.items()
        if name not in TOLD_ELSEWHERE
    ]
    lines += [("note", mark["note"]) for mark in each.marks if mark["note"]]
    return [(name, text) for name, text in lines if text]


def _written(value: object, digits: int) -> str:
    if isinstance(value, float):
        return f"{value:#.{digits}g}" if digits < MJD_DIGITS else f"{value:.5f}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    return "" if value is None else str(value)


def _row(each: ImageQuality) -> dict[str, Any]:
    row = each.as_dict()
    for name in _ROUNDED:
        row[name] = None if row[name] is None else round(row[name], 2)
    return row
