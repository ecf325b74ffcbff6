"""`analysis`: write an analysis service, try it on a file, serve it. No workspace is needed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json
from firstlight.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from firstlight.analysis_kit import ServiceDeclaration
    from firstlight.analysis_kit.loading import LoadedService

__all__ = ["analysis"]

analysis = typer.Typer(
    no_args_is_help=True, help="Write an analysis service: try it on a file, serve it."
)

Function = Annotated[
    str, typer.Argument(metavar="MODULE:FUNCTION", help="Or my_service.py:function.")
]
_MOST_SHOWN = 30
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


@analysis.command("try")
@guarded
def try_function(
    function: Function,
    photometry: Annotated[
        Path | None,
        typer.Option(help="CSV: mjd, filter, and flux, fluxerr (µJy) or mag, magerr (AB)."),
    ] = None,
    spectrum: Annotated[
        list[Path] | None, typer.Option(help="Columns of wavelength (Å) and flux; repeatable.")
    ] = None,
    redshift: Annotated[float | None, typer.Option(help="Of the object.")] = None,
    position: Annotated[
        tuple[float, float] | None, typer.Option("--position", help="RA and Dec, degrees.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE; repeatable. Of a file, its path.")
    ] = None,
    request: Annotated[
        Path | None, typer.Option(help="Instead: a request as a portal sent it, JSON.")
    ] = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for what it gives.")] = Path("trial"),
) -> None:
    """Run a function on a file, and write its results and plots into a folder.

    Example: [bold]firstlight analysis try my_service.py:fit --photometry lc.csv --redshift 0.01[/]
    """
    from firstlight.analysis_kit import AnalysisFailed, Progress  # noqa: PLC0415, starts fast
    from firstlight.analysis_kit.running import answer  # noqa: PLC0415, likewise
    from firstlight.analysis_kit.trial import (  # noqa: PLC0415, likewise
        TrialObject,
        read_parameters,
        write_answer,
    )
    from firstlight.analysis_kit.trial import request as request_of  # noqa: PLC0415, likewise

    service = _loaded(function)
    try:
        if request is not None:
            body: Mapping[str, Any] = _saved_request(request)
        else:
            ra, dec = position or (None, None)
            parameters = read_parameters(service.declaration, param or [])
            body = request_of(
                TrialObject(
                    "trial", ra, dec, redshift, photometry, tuple(spectrum or ()), parameters
                )
            )
    except AnalysisFailed as fault:
        raise InvalidInput(fault.message, hint=fault.hint) from fault
    document = answer(service, body, Progress(_tell_progress))
    _tell_answer(document)
    for path in write_answer(document, to):
        out.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    if document["status"] != "success":
        raise typer.Exit(1)


@analysis.command("serve")
@guarded
def serve(
    function: Function,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 for any free one.", min=0, max=65535)] = 6801,
    token: Annotated[
        str,
        typer.Option(
            envvar="FIRSTLIGHT_ANALYSIS_TOKEN",
            help="What a portal must show in Authorization; better from the environment.",
        ),
    ] = "",
    parallel: Annotated[int, typer.Option(help="Runs at the same time.", min=1, max=64)] = 1,
    memory: Annotated[
        int | None, typer.Option(help="Megabytes that one run may take.", min=64)
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for accepted runs, to go on with after a restart.")
    ] = None,
    portal: Annotated[
        str, typer.Option(help="Results go to this address only, as https://portal.example.org.")
    ] = "",
) -> None:
    """Make a function a service over HTTP that a portal can call. Ctrl-C stops it.

    Example: [bold]firstlight analysis serve my_service.py:fit --port 6801[/]
    """
    from firstlight.analysis_kit.run_queue import QueueSettings  # noqa: PLC0415, starts fast
    from firstlight.analysis_kit.serve import ServeSettings  # noqa: PLC0415, likewise
    from firstlight.analysis_kit.serve import serve as answer  # noqa: PLC0415, likewise
    from firstlight.analysis_kit.worker import BrokenService  # noqa: PLC0415, likewise

    queue = QueueSettings(parallel=parallel, memory_mb=memory, keep=keep)
    settings = ServeSettings(host=host, port=port, token=token, portal=portal, queue=queue)
    if not token and host not in _THIS_MACHINE:
        notes.print("whoever reaches this address can start runs: think of --token")
    try:
        with _logging_to_the_terminal():
            answer(function, settings, lambda *told: _announce(function, *told))
    except BrokenService as fault:
        raise _broken(function, str(fault)) from fault
    except OSError as fault:
        why = fault.strerror or str(fault)
        raise InvalidInput(why, subject=f"{host}:{port}", hint="choose another --port") from fault


@analysis.command("describe")
@guarded
def describe(
    function: Function,
    url: Annotated[str, typer.Option(help="Where it will answer.")] = "http://127.0.0.1:6801/",
) -> None:
    """Show how a portal registers a function: the body of POST /api/analysis_service.

    Example: [bold]firstlight analysis describe my_service.py:fit[/]
    """
    print_json(_loaded(function).declaration.as_document(url))


def _loaded(function: str) -> LoadedService:
    from firstlight.analysis_kit.loading import NotAService, load  # noqa: PLC0415, starts fast

    try:
        return load(function)
    except NotAService as fault:
        raise _broken(function, str(fault)) from fault
    except Exception as fault:  # whatever the author's own module raises is its own
        raise _broken(function, "".join(traceback.format_exception(fault)).rstrip()) from fault


def _broken(function: str, message: str) -> InvalidInput:
    *before, last = message.splitlines()
    if before:  # the traceback of the author's own module
        notes.print("\n".join(before), markup=False, highlight=False, soft_wrap=True)
    return InvalidInput(last, subject=function)


def _saved_request(path: Path) -> Mapping[str, Any]:
    import json  # noqa: PLC0415, for this alone

    try:
        body = json.loads(path.read_bytes())
    except ValueError as fault:
        raise InvalidInput("this is no JSON", subject=path) from fault
    if not isinstance(body, dict):
        raise InvalidInput("this is no request", subject=path, expected="an object with inputs")
    # A portal keeps of a request the inputs alone.
    return body if "inputs" in body else {"inputs": body}


def _announce(function: str, declaration: ServiceDeclaration, address: str) -> None:
    version = f" {declaration.version}" if declaration.version else ""
    out.print(
        f"{escape(declaration.name)}{version} answers at {address}",
        highlight=False,
        soft_wrap=True,
    )
    notes.print(
        f"tell a portal: firstlight analysis describe {escape(function)} --url {address}",
        highlight=False,
        soft_wrap=True,
    )


def _tell_progress(fraction: float, message: str) -> None:
    notes.print(f"{fraction:4.0%} {message}", markup=False, highlight=False)


def _tell_answer(document: Mapping[str, Any]) -> None:
    is_good = document["status"] == "success"
    said = document["message"] or ("done" if is_good else "no message")
    out.print(f"{document['status']}: {said}", markup=False, highlight=False, soft_wrap=True)
    results = document["analysis"].get("results", {}).get("data", {})
    for name, value in list(results.items())[:_MOST_SHOWN]:
        shown = f"{value:.8g}" if isinstance(value, float) else str(value)
        cut = f"{shown[:70]}..." if len(shown) > 73 else shown
        out.print(f"  {name} = {cut}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _logging_to_the_terminal() -> Iterator[None]:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    levels = {"firstlight.analysis": logging.INFO, "uvicorn.error": logging.WARNING}
    logs = {logging.getLogger(name): level for name, level in levels.items()}
    for log, level in logs.items():
        log.addHandler(handler)
        log.setLevel(level)
    try:
        yield
    finally:
        for log in logs:
            log.removeHandler(handler)
