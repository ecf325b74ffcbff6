"""The command `firstlight`: its options, and the list of its commands."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Annotated

import typer

import firstlight
from firstlight.cli import (
    access,
    accounts,
    alerts,
    analyse,
    archive,
    cameras,
    expiry,
    fakes,
    info_images,
    lifecycle,
    light_curves,
    live,
    look,
    measure,
    objects,
    observations,
    photometry,
    quality,
    reduction,
    references,
    search,
    service_commands,
    simulation,
    subtract,
    transients,
    webhooks,
    workspace,
)
from firstlight.cli.console import guarded, out
from firstlight.cli.kernel_cache import keep_kernels

__all__ = ["app", "main"]

_OBJECTS_BETWEEN_COLLECTIONS = 10_000

app = typer.Typer(
    name="firstlight",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"firstlight {firstlight.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Option(
            "--workspace", "-w", envvar="FIRSTLIGHT_WORKSPACE", help="The workspace folder."
        ),
    ] = Path(),
    version: Annotated[  # noqa: ARG001, its callback does the work
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From first light to light curve: archive, calibrate, solve, measure."""
    context.obj = folder


for name, command in (
    ("init", workspace.init),
    ("ingest", archive.ingest),
    ("watch", live.watch),
    ("serve", live.serve),
    ("worker", live.worker),
    ("expire", expiry.expire),
    ("lifecycle", lifecycle.lifecycle),
    ("reduce", reduction.reduce),
    ("status", reduction.status),
    ("lightcurve", light_curves.lightcurve),
    ("stars", light_curves.stars),
    ("analyse", analyse.analyse),
    ("show", look.show),
    ("solve", look.solve),
    ("subtract", subtract.subtract),
    ("fakes", fakes.fakes),
    ("simulate", simulation.simulate),
    ("simulate-pair", simulation.simulate_pair),
    ("simulate-site", simulation.simulate_site),
    ("simulate-survey", simulation.simulate_survey),
    ("sample", simulation.sample),
    ("doctor", workspace.doctor),
    ("upgrade", workspace.upgrade),
    ("compile", workspace.compile_kernels),
):
    app.command(name)(guarded(command))
# A southern declination begins with a hyphen: it is no option.
app.command("measure", context_settings={"ignore_unknown_options": True})(guarded(measure.measure))
for name, group in (
    ("alert", alerts.alert),
    ("analysis", service_commands.analysis),
    ("archive", search.archive),
    ("camera", cameras.cameras),
    ("object", objects.objects),
    ("observations", observations.observations),
    ("infoimage", info_images.infoimage),
    ("photometry", photometry.photometry),
    ("quality", quality.quality),
    ("reference", references.references),
    ("group", accounts.group),
    ("token", access.token),
    ("transient", transients.transients),
    ("user", accounts.user),
    ("webhook", webhooks.webhook),
):
    app.add_typer(group, name=name)


def main() -> None:
    """Entry point.

    A command loads a few hundred thousand objects that live until its end. To look through them
    for garbage again and again while they come, and once more at the end, takes a third of the
    time of a short command.
    """
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    keep_kernels(os.environ, Path(firstlight.__file__).parent)
    try:
        app()
    finally:
        gc.freeze()
