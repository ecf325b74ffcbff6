"""`analyse`: measure an object in an image, for its light curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from firstlight.cli.console import EXIT_CODES, explain, notes, out, print_json
from firstlight.cli.measuring_options import (
    Aperture,
    Catalog,
    Colour,
    Gain,
    ImageFile,
    ImageFilter,
    ObsTime,
    Saturation,
    Section,
    TrustWcs,
)
from firstlight.cli.opening import open_workspace, the_operator
from firstlight.errors import Kind
from firstlight.services.digits import measured

if TYPE_CHECKING:
    from firstlight.factory import Factory

__all__ = ["analyse"]

_TOLD = ("done", "failed")
_WIDTH = 24


def analyse(  # noqa: PLR0913, PLR0917, each option of the command is one
    context: typer.Context,
    image: ImageFile,
    object_name: Annotated[
        str, typer.Option("--object", help="What is measured; see object list.")
    ],
    image_filter: ImageFilter = None,
    instrument: Annotated[str | None, typer.Option(help="The camera.")] = None,
    section: Section = None,
    obstime: ObsTime = None,
    gain: Gain = None,
    saturation: Saturation = None,
    aperture: Aperture = None,
    catalog: Catalog = None,
    colour: Colour = None,
    trust_wcs: TrustWcs = None,
    method: Annotated[str | None, typer.Option(help="psf or aperture; else the better.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Make it a point of the light curve at once.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure an object in an image of yours, and put the point on its light curve.

    It is what the button *Image Analysis* of the portal does, done here and now; the portal
    shows it with its report. Without --accept it waits there to be accepted.

    Example: [bold]firstlight -w mynight analyse field.fits.fz --object HAT-P-32 --accept[/]
    """
    given = {
        "filter": image_filter,
        "instrument": instrument,
        "section": section,
        "obstime": obstime,
        "gain": gain,
        "saturation": saturation,
        "aperture": aperture,
        "catalog": catalog,
        "colour": colour,
        "trust_wcs": trust_wcs,
        "method": method,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    factory = open_workspace(context)
    told = _analysed(factory, object_name, image, chosen, quiet=as_json)
    if accept and told["preview"] is not None:
        told = factory.image_analyses.accept(the_operator(), told["id"])
    if as_json:
        print_json(told)
    else:
        for name, text in _lines(told):
            out.print(f"{name:<12} {text}", markup=False, highlight=False, soft_wrap=True)
    if told["error"] is not None:
        facts = {**told["error"], "subject": f"{told['filename']}, {told['error']['title']}"}
        notes.print(f"[red]error[/] {explain(facts)}", soft_wrap=True)
        is_ours = told["error"]["code"] == "internal"
        raise typer.Exit(EXIT_CODES[Kind.INTERNAL if is_ours else Kind.USER])


def _analysed(
    factory: Factory, name: str, image: Path, chosen: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Upload, and do the work in this process; whoever stops it has cancelled it."""
    viewer, analyses = the_operator(), factory.image_analyses
    analyses.expect(viewer, name)
    with image.open("rb") as stream:
        upload = factory.image_uploads.receive(viewer, image.name, stream)
    number = analyses.start(viewer, name, [upload["id"]], chosen, by_caller=True)[0]["id"]
    try:
        factory.image_analysis_run.run({"analysis": number}, on_step=None if quiet else _print_step)
    except KeyboardInterrupt:
        analyses.cancel(viewer, number)
        raise
    return analyses.get(viewer, number)


def _print_step(step: Mapping[str, Any]) -> None:
    """One line for a step that has ended; where people look on, one while it runs besides."""
    title = f"{step['title']:<{_WIDTH}}"
    if step["state"] in _TOLD:
        took = "failed " if step["state"] == "failed" else f"{step['seconds']:5.1f} s"
        text = f"{title} {took}  {step['message'] or ''}".rstrip()
        notes.print(text, markup=False, highlight=False, soft_wrap=True)
    elif step["state"] == "running" and notes.is_terminal:
        notes.print(f"{title} ...", markup=False, highlight=False, end="\r")


def _lines(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The result in a person's words and digits; nothing that is not known."""
    preview = told["preview"]
    if preview is None:
        return []
    best = preview["methods"][preview["chosen"]]
    band, catalog = preview["band"], str(preview["catalog"]).split(" ", 1)[0]
    as_band = f", as {band} of {catalog}" if band != preview["filter"] else f", by {catalog}"
    lines = [("object", f"{told['object']} in {told['filename']}")]
    if best["magnitude"] is not None:
        text = f"{preview['filter']} = {best['magnitude']:.3f} ± {best['magnitude_err']:.3f}"
    else:
        text = f"{preview['filter']} fainter than {best['limit']:.2f}, 5 sigma"
    lines.append(("magnitude", f"{text} {preview['system']}{as_band}"))
    if best["flux_ujy"] is not None:
        lines.append(("flux", f"{measured(best['flux_ujy'], best['flux_ujy_err'])} µJy"))
    lines.append(("by", f"{preview['chosen']} photometry, signal to noise {best['snr']:.0f}"))
    if preview["limit"] is not None:
        text = f"{preview['limit']:.2f} ± {preview['limit_err']:.2f}"
        lines.append(("limit", f"{text}, half of artificial stars found"))
    lines.append(("time", f"{preview['obstime']} UTC (MJD {preview['mjd']:.6f}), the middle"))
    lines += [("section", preview["section"])] if preview["section"] else []
    lines += [("note", note) for note in preview["notes"] or []]
    page = f"/objects/{quote(told['object'], safe='')}/image_analyses/{told['id']}"
    if told["photometry_id"] is not None:
        lines.append(("accepted", f"point {told['photometry_id']} of its light curve"))
    else:
        lines.append(("not yet", f"accept or discard it in the portal: {page}"))
    return lines
