"""`simulate`, its kin and `sample`: nights to try firstlight on."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from firstlight.cli.console import notes, out, print_json, progress_bar
from firstlight.errors import InvalidInput

__all__ = ["sample", "simulate", "simulate_pair", "simulate_site", "simulate_survey"]


class Camera(Enum):
    """What can be simulated."""

    DEMO = "demo"
    PANOPTES = "panoptes"


N_EXPOSURES = {Camera.DEMO: 40, Camera.PANOPTES: 30}


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder for the files; made where needed.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    exposures: Annotated[
        int | None,
        typer.Option(help="Number of science exposures; default 40, of panoptes 30.", min=1),
    ] = None,
    camera: Annotated[
        Camera,
        typer.Option(help="Two sections with calibration frames, or the colours of PANOPTES."),
    ] = Camera.DEMO,
    faults: Annotated[
        bool, typer.Option("--faults", help="With a truncated file and a clouded frame.")
    ] = False,
) -> None:
    """Make a night whose truth is known: stars of Tycho-2, variables, a transit, all noise.

    Example: [bold]firstlight simulate sky --seed 7 --exposures 40[/]
    """
    from firstlight import factory  # noqa: PLC0415, loads most of the house

    if faults and camera is not Camera.DEMO:
        raise InvalidInput(
            "only nights of the demo camera can have faults",
            field="--faults",
            found=f"--camera {camera.value}",
        )
    number = N_EXPOSURES[camera] if exposures is None else exposures
    with progress_bar("simulate", number) as update:
        if camera is Camera.PANOPTES:
            truth = factory.simulate_colour_night(folder, seed, number, on_progress=update)
        else:
            truth = factory.simulate_night(folder, seed, number, faults=faults, on_progress=update)
    out.print(truth, highlight=False, soft_wrap=True)


def sample(
    name: Annotated[str, typer.Argument(help="hat-p-32")] = "hat-p-32",
    folder: Annotated[
        Path | None, typer.Option(help="Where to; default the cache of this user.")
    ] = None,
) -> None:
    """Fetch a public sample night.

    Example: [bold]firstlight sample hat-p-32[/]
    """
    from firstlight.factory import fetch_sample  # noqa: PLC0415, loads most of the house

    with progress_bar("fetch", 0) as update:
        path = fetch_sample(name, folder, on_progress=update)
    out.print(str(path), highlight=False, soft_wrap=True)


def simulate_pair(
    folder: Annotated[Path, typer.Argument(help="Where to write; a new folder.")],
    side: Annotated[int, typer.Option(help="Pixels on a side.", min=128, max=8192)] = 1024,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.", min=0)] = 1,
    transients: Annotated[
        int | None, typer.Option(help="New sources; by default a few.", min=0, max=2000)
    ] = None,
) -> None:
    """Simulate a new image and its reference, with new sources whose truth is written beside them.

    Galaxies and stars, a PSF that changes over the field, cosmic rays, a wrong WCS.

    Example: [bold]firstlight simulate-pair pair --seed 3[/]
    """
    from firstlight.factory import simulate_pair as simulate  # noqa: PLC0415, loads most of it

    for path in simulate(folder, seed=seed, side=side, transients=transients):
        out.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def simulate_survey(  # noqa: PLR0913, PLR0917, each option of the command is one
    folder: Annotated[Path, typer.Argument(help="Where to write; made where needed.")],
    nights: Annotated[int, typer.Option(help="Three days apart.", min=1, max=60)] = 4,
    sections: Annotated[int, typer.Option(help="CCDs: 1, 2, 4, 6, 8, 12 or 16.")] = 4,
    visits: Annotated[int, typer.Option(help="A night, in each filter.", min=1, max=200)] = 3,
    shape: Annotated[
        str, typer.Option(help="Rows x columns of a CCD.", metavar="ROWSxCOLUMNS")
    ] = "512x768",
    filters: Annotated[str, typer.Option(help="Letters of griz, for example gr.")] = "r",
    transients: Annotated[
        int, typer.Option(help="None of them in the first night.", min=0, max=2000)
    ] = 12,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.", min=0)] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Make some nights of a mosaic camera in which things change: all is known of them.

    Raw files with two amplifiers a CCD, galaxies, transients with light curves, variable stars,
    asteroids, cosmic rays, satellites; a reference catalogue; and the truth as tables.

    Example: [bold]firstlight simulate-survey survey --nights 4 --seed 3[/]
    """
    from firstlight.simulation.survey import simulate_survey as simulate  # noqa: PLC0415, slow
    from firstlight.simulation.survey_settings import SurveySettings  # noqa: PLC0415, likewise

    rows, columns = _shape(shape)
    settings = SurveySettings(
        nights=nights,
        sections=sections,
        visits=visits,
        rows=rows,
        columns=columns,
        filters=filters,
        transients=transients,
        seed=seed,
    )
    with progress_bar("simulate", 0) as update:
        made = simulate(settings, folder, progress=lambda done, total, _name: update(done, total))
    if as_json:
        print_json(made.as_dict())
        return
    out.print(made.sentence, markup=False, highlight=False, soft_wrap=True)
    for command in made.next_commands:
        out.print(f"next: {command}", markup=False, highlight=False, soft_wrap=True)


def _shape(text: str) -> tuple[int, int]:
    """Rows and columns of text such as 512x768."""
    rows, _, columns = text.lower().partition("x")
    if not (rows.isdecimal() and columns.isdecimal()):
        raise InvalidInput(field="--shape", found=text, expected="rows x columns, as 512x768")
    return int(rows), int(columns)


def simulate_site(
    destination: Annotated[
        str, typer.Argument(help="A folder, s3://bucket/prefix, or the address of an archive.")
    ],
    exposures: Annotated[int, typer.Option(help="Regular exposures.", min=1)] = 20,
    rate: Annotated[
        float | None, typer.Option(help="Files a second; default as fast as they are taken.", min=0)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.", min=0)] = 1,
    site: Annotated[str, typer.Option(help="Name of the site.")] = "tst",
    faults: Annotated[
        bool,
        typer.Option("--faults", help="Shuffled; some twice, some headers last, some damaged."),
    ] = False,
    token: Annotated[
        str | None, typer.Option(envvar="FIRSTLIGHT_TOKEN", help="Of the archive's API.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(envvar="AWS_ENDPOINT_URL", help="Of the S3 server.")
    ] = None,
) -> None:
    """Pretend to be an observatory: send realistic files, to try an archive out.

    Real stars of Tycho-2, headers as Photon Ranch sites write them, five files an exposure,
    info images and an all-sky camera.

    Example: [bold]firstlight simulate-site incoming --exposures 200 --rate 10 --faults[/]
    """
    from firstlight.factory import simulate_site as simulate  # noqa: PLC0415, loads most of it

    with progress_bar("send", 0) as update:
        report = simulate(
            destination,
            {"seed": seed, "site": site, "exposures": exposures},
            faults=faults,
            rate=rate or None,
            on_sent=update,
            token=token,
            endpoint=endpoint,
        )
    out.print(report.sentence, markup=False, highlight=False, soft_wrap=True)
    for name, fault in report.corrupt:
        notes.print(f"[yellow]corrupt[/] {escape(name)}: {fault}", highlight=False, soft_wrap=True)
