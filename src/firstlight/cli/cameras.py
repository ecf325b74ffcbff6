"""`camera`: list, show, take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firstlight.cli.console import guarded, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from firstlight.instruments import Instrument

__all__ = ["cameras"]

cameras = typer.Typer(
    no_args_is_help=True,
    help="Cameras: which there are, what is known of them, and masters of theirs from files.",
)

Json = Annotated[bool, typer.Option("--json", help="For programs.")]

COLUMNS = (
    ("camera", "name"),
    ("telescope", "telescope"),
    ("sections", "sections"),
    ("defective", "defective"),
    ("″/pixel", "pixel_scale"),
    ("described in", "described_in"),
)
SECTION_COLUMNS = (
    ("section", "id"),
    ("x", "x"),
    ("y", "y"),
    ("wide", "size_x"),
    ("high", "size_y"),
    ("filter", "filter"),
    ("amplifiers", "amplifiers"),
    ("gain", "gain"),
    ("read noise", "read_noise"),
    ("defective", "defective"),
)


@cameras.command("list")
@guarded
def list_cameras(context: typer.Context, as_json: Json = False) -> None:
    """All cameras: those of firstlight, of installed packages, and of the workspace's folder.

    Without a workspace, those of firstlight and of packages.

    Example: [bold]firstlight -w survey camera list[/]
    """
    from firstlight.instruments import get_instrument_instance, instrument_names  # noqa: PLC0415
    from firstlight.instruments.camera_facts import camera_summary  # noqa: PLC0415, as above

    _learn(context.obj)
    rows = [camera_summary(get_instrument_instance(name)) for name in instrument_names()]
    if as_json:
        print_json(rows)
    else:
        print_table(table_of(rows, COLUMNS))


@cameras.command("show")
@guarded
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name, as `camera list` tells it.")],
    as_json: Json = False,
) -> None:
    """What is known of a camera: its values, its tables, its sections.

    Values that a header tells count more than these, but for what the settings say.

    Example: [bold]firstlight camera show DECam[/]
    """
    from firstlight.instruments import get_instrument_instance  # noqa: PLC0415, numpy and astropy
    from firstlight.instruments.camera_facts import camera_facts  # noqa: PLC0415, as above

    _learn(context.obj)
    facts = camera_facts(get_instrument_instance(name))
    if as_json:
        print_json(facts)
        return
    sections = facts.pop("sections")
    rows = [{"what": key, "value": value} for key, value in _flat(facts).items()]
    print_table(table_of(rows, (("", "what"), ("", "value"))))
    out.print()
    shown = [
        column for column in SECTION_COLUMNS if any(row.get(column[1]) for row in sections)
    ] or SECTION_COLUMNS[:1]
    print_table(table_of(sections, shown))


@cameras.command("take")
@guarded
def take(  # noqa: PLR0913, PLR0917, each option of the command is one
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="illumination, fringe or bad_pixels.")],
    file: Annotated[Path, typer.Argument(help="FITS image of the trimmed section.")],
    camera: Annotated[str, typer.Option(help="Whose section it is.")],
    section: Annotated[
        str | None, typer.Option(help="Which; not needed where the camera has one.")
    ] = None,
    band: Annotated[
        str | None, typer.Option("--filter", help="For exposures in it; none for bad pixels.")
    ] = None,
    mjd: Annotated[float, typer.Option(help="When it is best: of several the nearest is used.")] = (
        0.0
    ),
    hdu: Annotated[
        str | None, typer.Option(help="Number or EXTNAME of the image; default the first.")
    ] = None,
    binning: Annotated[str, typer.Option(help="Of the exposures that it is for.")] = "1x1",
    as_json: Json = False,
) -> None:
    """Take a master calibration from a file; [bold]reduce[/] uses it from then on.

    Master bias, dark and flat are made of raw frames instead.

    Example: [bold]firstlight -w survey camera take fringe fringe_z.fits --camera DECam
    --section N4 --filter z[/]
    """
    factory = open_workspace(context)
    from firstlight.instruments import get_instrument_instance  # noqa: PLC0415, loaded by now
    from firstlight.services.calibration import MasterFile  # noqa: PLC0415, loads numpy and more

    section_id = section or _only_section(get_instrument_instance(camera))
    number = int(hdu) if hdu is not None and hdu.isdecimal() else hdu
    master = MasterFile(file, hdu=number, mjd=mjd, binning=binning)
    ident = factory.calibration.take_master(role, master, camera, section_id, band)
    if as_json:
        print_json({"id": str(ident), "role": role, "camera": camera, "section": section_id})
        return
    out.print(f"{role} of {camera} {section_id} is {ident}; next: firstlight reduce",
              highlight=False, markup=False, soft_wrap=True)  # fmt: skip


def _learn(folder: Path) -> None:
    """Know of the workspace's own cameras too, where the folder is a workspace."""
    from firstlight.config import (  # noqa: PLC0415, pydantic models of everything
        FILE_NAME,
        load_settings,
        set_up_instruments,
    )

    if (folder / FILE_NAME).exists():
        set_up_instruments(folder, load_settings(folder))


def _only_section(camera: Instrument) -> str:
    ids = [str(each) for each in camera.get_section_ids()]
    if len(ids) > 1:
        raise InvalidInput(
            subject=camera.name, field="--section", found=None, expected=f"one of {', '.join(ids)}"
        )
    return ids[0]


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """Values that are known, one a line; a table that is named and not there says so."""
    lines = {key: value for key, value in facts.items() if value not in (None, [], {})}
    for kind, table in lines.pop("tables", {}).items():
        lines[kind] = table["found"] or f"{table['file']} is not there"
    return lines
