"""`measure`: how bright is what is at this place in this image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import notes, out, print_json
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
from firstlight.services.digits import measured

__all__ = ["measure"]


def measure(  # noqa: PLR0913, PLR0917, each option of the command is one
    context: typer.Context,
    image: ImageFile,
    ra: Annotated[str, typer.Argument(help="Right ascension: degrees, or hours with colons.")],
    dec: Annotated[str, typer.Argument(help="Declination, degrees.")],
    image_filter: ImageFilter = None,
    section: Section = None,
    obstime: ObsTime = None,
    gain: Gain = None,
    saturation: Saturation = None,
    aperture: Aperture = None,
    catalog: Catalog = None,
    colour: Colour = None,
    trust_wcs: TrustWcs = None,
    report: Annotated[
        Path | None, typer.Option(help="Folder for plots and the result as JSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """How bright is what is at this place in this image? Needs no workspace.

    Example: [bold]firstlight measure frame.fits 02:04:10.28 +46:41:16.2 --report plots[/]
    """
    from firstlight.factory import measure_file  # noqa: PLC0415, loads most of the house

    given = {
        "filter": image_filter,
        "section": section,
        "obstime": obstime,
        "gain": gain,
        "saturation": saturation,
        "aperture": aperture,
        "catalog": catalog,
        "colour": colour,
        "trust_wcs": trust_wcs,
    }
    result = measure_file(
        context.obj,
        image,
        (ra, dec),
        {name: value for name, value in given.items() if value is not None},
        report=report,
    )
    told = result.as_dict()
    if as_json:
        print_json(told)
    else:
        _print(told)
    if report is not None:
        notes.print(f"wrote {escape(str(report))}", highlight=False, soft_wrap=True)
    result.raise_if_failed()


def _print(told: dict[str, Any]) -> None:
    for step in told["steps"]:
        if step["state"] == "skipped":
            continue  # what ended it is told
        told_of_step = _step(step)
        notes.print(f"{step['name']:<12} {told_of_step}", markup=False, highlight=False)
    for name, text in _lines(told):
        out.print(f"{name:<12} {text}", markup=False, highlight=False, soft_wrap=True)


def _step(step: dict[str, Any]) -> str:
    if step["state"] == "done":
        return f"done in {step['seconds']:.2f} s"
    return f"{step['state']}: {(step['error'] or {}).get('message', '')}"


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The result in a person's words and digits; nothing that is not known."""
    band = f"{told['filter']} ({told['system']})"
    lines = []
    if told["magnitude"] is not None:
        lines.append(("magnitude", f"{told['magnitude']:.3f} ± {told['magnitude_err']:.3f} {band}"))
    elif told["limit_at_target"] is not None:
        lines.append(("magnitude", f"fainter than {told['limit_at_target']:.2f} {band}, 5 sigma"))
    if told["flux_ujy"] is not None:
        lines.append(("flux", f"{measured(told['flux_ujy'], told['flux_ujy_err'])} µJy"))
    for method, facts in told["measurements"].items():
        if facts["magnitude"] is not None:
            text = f"{facts['magnitude']:.3f} ± {facts['magnitude_err']:.3f}"
            lines.append((method, f"{text}, signal to noise {facts['snr']:.0f}"))
    if told["limit"] is not None:
        text = f"{told['limit']:.2f} ± {told['limit_err']:.2f} {band}"
        lines.append(("limit", f"{text}, half of artificial stars found"))
    if told["mjd"] is not None:
        lines.append(("time", f"MJD {told['mjd']:.6f} UTC, middle of the exposure"))
    if told["catalog"]:
        lines.append(("catalogue", told["catalog"]))
    if told["section"]:
        lines.append(("section", told["section"]))
    if told["flags"]:
        lines.append(("flags", ", ".join(told["flags"])))
    return lines + [("note", note) for note in told["notes"]]
