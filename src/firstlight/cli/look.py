"""`show` and `solve`: looking at one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.tree import Tree

from firstlight.cli.console import out, print_json
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
        view.draw(factory.pictures.image, png)
    if as_json:
        print_json(view.as_dict())
        return
    out.print(f"[bold]{escape(view.title)}[/]")
    for key, value in view.header.items():
        out.print(f"  {key:<16} {value}", markup=False, highlight=False)
    out.print(_tree(view.as_dict()["tree"]))
    if png is not None:
        out.print(f"wrote {png}", highlight=False)


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
    for key, value in answer.items():
        if key != "cards":
            out.print(f"{key:<16} {value}", markup=False, highlight=False)


def _tree(node: dict[str, Any]) -> Tree:
    tree = Tree(_label(node))
    for child in node["children"]:
        tree.children.append(_tree(child))
    return tree


def _label(node: dict[str, Any]) -> str:
    facts = "".join(
        f"\n[dim]{escape(key)}:[/] {escape(str(value))}" for key, value in node["facts"].items()
    )
    return f"[bold]{escape(node['title'])}[/]{facts}"
