"""`alert`: packets on what changed in the sky."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from firstlight.cli.console import guarded, notes, out, print_json, print_table
from firstlight.cli.opening import open_workspace
from firstlight.cli.tables import table_of

__all__ = ["alert"]

alert = typer.Typer(no_args_is_help=True, help="Alerts on what changed: send, list, show.")

Json = Annotated[bool, typer.Option("--json", help="For programs.")]
COLUMNS = (
    ("measurement", "measurement"),
    ("object", "object"),
    ("topic", "topic"),
    ("sent", "sent_at"),
    ("attempts", "attempts"),
    ("error", "error"),
)
LET_OUT = (
    "public_sites under [web] in firstlight.toml lets everyone see what a site took, "
    "sites or everything under [alerts] sends it all the same"
)
LOOK_BACK = "later_references under [alerts] in firstlight.toml tells of them all the same"
_PRINTED = ("diaSource", "diaObject", "candidate")


@alert.command("send")
@guarded
def send(context: typer.Context, as_json: Json = False) -> None:
    r"""Pack an alert for every kept measurement that has none, and send what has not arrived.

    It tells of what everyone may see, by public_sites under \[web] in the settings, and of what
    \[alerts] adds; there it also says where to. It may be run at any time and any number of
    times: each measurement is told of once.

    Example: [bold]firstlight -w survey alert send[/]
    """
    report = open_workspace(context).alerts.send()
    if as_json:
        print_json(report.as_dict())
        return
    out.print(f"{report.packed} packed, {report.sent} sent", highlight=False)
    for failure in report.failures:
        notes.print(f"[yellow]not sent[/] {escape(failure)}", soft_wrap=True, highlight=False)
    if report.withheld:
        notes.print(
            f"[yellow]withheld[/] {report.withheld}: not everyone may see them; "
            + escape(LET_OUT), soft_wrap=True, highlight=False,
        )  # fmt: skip
    if report.looking_back:
        notes.print(
            f"[yellow]no news[/] {report.looking_back}: their images were compared with a later "
            "reference; " + escape(LOOK_BACK), soft_wrap=True, highlight=False,
        )  # fmt: skip


@alert.command("list")
@guarded
def show_list(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="So many at most.", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """Alerts there are, the latest first.

    Example: [bold]firstlight -w survey alert list[/]
    """
    rows = open_workspace(context).alerts.listed(limit=limit)
    if as_json:
        print_json(rows)
    elif not rows:
        out.print("no alerts yet; next: firstlight alert send")
    else:
        print_table(table_of(rows, COLUMNS))


@alert.command("show")
@guarded
def show(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(help="Number of a measurement, or an Avro file of any survey.")
    ],
    as_json: Json = False,
) -> None:
    """What a packet says; its cutouts are told by their size.

    Example: [bold]firstlight alert show 2019_01_10_739260766315010006.avro[/]
    """
    if what.isdecimal():
        packets = [open_workspace(context).alerts.packet(int(what))]
    else:
        from firstlight.factory.outside import read_alert_file  # noqa: PLC0415, loads libraries

        packets = read_alert_file(Path(what))
    for packet in packets:
        plain = _plain(packet)
        if as_json:
            print_json(plain)
            continue
        for name, value in plain.items():
            if name not in _PRINTED:
                shown = f"{len(value)} entries" if isinstance(value, list) else value
                _print_fact(name, shown)
        for name in _PRINTED:
            for key, value in (plain.get(name) or {}).items():
                _print_fact(f"{name}.{key}", value)


def _print_fact(name: str, value: Any) -> None:
    """One line, with as many digits as a place or a time is worth."""
    shown = f"{value:.10g}" if isinstance(value, float) else value
    out.print(f"{name}: {shown}", markup=False, highlight=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    """JSON values; bytes by their number."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value
