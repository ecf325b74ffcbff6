"""`simulate` and `sample`: nights to try firstlight on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from firstlight.cli.console import out, progress_bar

__all__ = ["sample", "simulate"]


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder for the files; made where needed.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    exposures: Annotated[int, typer.Option(help="Number of science exposures.", min=1)] = 40,
    faults: Annotated[
        bool, typer.Option("--faults", help="With a truncated file and a clouded frame.")
    ] = False,
) -> None:
    """Make a night whose truth is known: stars of Tycho-2, variables, a transit, all noise.

    Example: [bold]firstlight simulate sky --seed 7 --exposures 40[/]
    """
    from firstlight.factory import simulate_night  # noqa: PLC0415, loads most of the house

    with progress_bar("simulate", exposures) as update:
        truth = simulate_night(folder, seed, exposures, faults=faults, on_progress=update)
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
