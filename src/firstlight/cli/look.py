"""`show` and `solve`: looking at one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.tree import Tree

from firstlight.cli.console import notes, out, print_json
from firstlight.cli.opening import open_workspace

__all__ = ["show", "solve"]


def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Exposure file name, image file name or id.")],
    png: Annotated[
        Path | None, typer.Option(help="Draw the image with its sources to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """One exposure or image: header, products, provenance as a tree.

    Example: [bold]firstlight -w mynight show HATP-32171220013343.FITS --png field.png[/]
    """
    factory = open_workspace(context)
    view = factory.lineage.view(name)
    if png is not None:
        for path in view.draw(factory.pictures.image, png):
            notes.print(f"wrote {escape(str(path))}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(view.as_dict())
        return
    for key, value in view.header.items():
        out.print(f"{key:<16} {value}", markup=False, highlight=False, soft_wrap=True)
    out.print(_tree(view.as_dict()["tree"]))


def solve(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A FITS file or a picture (TIFF, PNG, JPEG).")],
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Lowest and highest pixel scale, arcseconds per pixel."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Where does this image point? Needs no workspace, no network.

    Example: [bold]firstlight solve holiday.tiff[/]
    """
    from firstlight.factory import solve_file  # noqa: PLC0415, loads most of the house

    del context
    answer = solve_file(file, scale)
    if as_json:
        print_json(answer)
        return
    for name, text in _solution(answer):
        out.print(f"{name:<12} {text}", markup=False, highlight=False)


def _solution(answer: dict[str, Any]) -> list[tuple[str, str]]:
    """A plate solution in a person's words and digits."""
    return [
        ("centre", f"{answer['ra']:.5f} {answer['dec']:+.5f} degrees"),
        ("field", f"{answer['width_degrees']:.3f} x {answer['height_degrees']:.3f} degrees"),
        ("scale", f"{answer['pixel_scale']:.4f} arcseconds per pixel"),
        ("rotation", f"{answer['rotation']:.2f} degrees, y axis east of north"),
        ("mirrored", "yes" if answer["mirrored"] else "no"),
        ("matched", f"{answer['n_matched']} stars of {answer['sources']} sources"),
        ("rms", f"{answer['rms_arcsec']:.2f} arcseconds = {answer['rms_pixels']:.3f} pixels"),
        ("log odds", f"{answer['log_odds']:.0f} against chance"),
        ("found", f"{answer['how']}, {answer['catalog']}"),
    ]


def _tree(node: dict[str, Any], software: object = None) -> Tree:
    """The tree of a node; software is told where it differs from what its parent was made by."""
    facts = dict(node["facts"])
    own = facts.get("software", software)
    if own == software:
        facts.pop("software", None)
    tree = Tree(_label(node["title"], facts))
    for child in node["children"]:
        tree.children.append(_tree(child, own))
    return tree


def _label(title: str, facts: dict[str, Any]) -> str:
    told = "".join(f"\n[dim]{escape(key)}:[/] {escape(str(value))}" for key, value in facts.items())
    return f"[bold]{escape(title)}[/]{told}"
