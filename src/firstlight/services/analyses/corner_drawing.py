"""Draws one corner plot in a process of its own: ``python -m`` this, with files and options."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from firstlight.formats.posterior_samples import Samples, thin, unpack
from firstlight.services.analyses.result_reader_limits import limit_this_process

__all__ = ["main"]

PICTURE = "corner.png"
TOLD = "told.json"
MOST_DRAWN = 12
"""Parameters of one plot; with `var_names` others can be chosen."""
_DRAWS = 20_000
_OWN = ("model", "var_names", "labels", "titles")


def main(arguments: list[str]) -> None:
    """Draw what is described by one argument of JSON; leave a PNG, or ``told.json``."""
    job = json.loads(arguments[0])
    folder = Path(job["folder"])
    sys.modules["arviz"] = None  # type: ignore[assignment]  # corner would load it, for seconds
    limit_this_process(**job["process"])
    try:
        _draw(unpack(Path(job["samples"])), job["options"], folder / PICTURE)
    except Exception as fault:  # noqa: BLE001, a drawing library may raise anything
        if not isinstance(fault, ValueError | KeyError | TypeError):
            traceback.print_exc()
        told = {"message": f"{type(fault).__name__}: {fault}"[:300]}
        (folder / TOLD).write_text(json.dumps(told), encoding="utf-8")


def _draw(models: dict[str, Samples], options: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415, after the limits have been set

    mpl.use("agg")
    import corner  # noqa: PLC0415, likewise

    samples, keywords = chosen(models, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters that do not vary, and the like
        figure = corner.corner(samples.values.T, quiet=True, **keywords)
        made = path.with_suffix(".making")
        figure.savefig(made, format="png", dpi=100)
    made.rename(path)  # whole, or not there


def chosen(models: dict[str, Samples], options: dict[str, Any]) -> tuple[Samples, dict[str, Any]]:
    """The samples to be drawn, and the keywords to draw them with.

    Raises
    ------
    ValueError
        There is no such model or parameter, or there are too few samples.
    """
    name = options.get("model", next(iter(models)))
    if name not in models:
        raise ValueError(f"there is no model {name!r}, only {', '.join(models)}")
    samples = models[name]
    wanted = options.get("var_names") or list(samples.names)[:MOST_DRAWN]
    missing = [each for each in wanted if each not in samples.names]
    if missing or len(wanted) > MOST_DRAWN:
        raise ValueError(
            f"there is no parameter {missing[0]!r}"
            if missing
            else f"at most {MOST_DRAWN} parameters fit into one plot"
        )
    rows = [samples.names.index(each) for each in wanted]
    samples = thin(Samples(tuple(wanted), samples.values[rows], samples.sent), _DRAWS)
    if samples.draws <= len(wanted):
        raise ValueError(f"{samples.draws} samples are too few for {len(wanted)} parameters")
    keywords = {name: value for name, value in options.items() if name not in _OWN}
    keywords["labels"] = _fitting(options.get("labels") or wanted, wanted, "labels")
    if options.get("titles"):
        keywords["titles"] = _fitting(options["titles"], wanted, "titles")
    if "range" not in keywords:
        keywords["range"] = [_wide(row) for row in samples.values]
    return samples, keywords


def _fitting(given: list[str], wanted: list[str], what: str) -> list[str]:
    if len(given) != len(wanted):
        raise ValueError(f"there are {len(wanted)} parameters, and {len(given)} {what}")
    return given


def _wide(row: Any) -> tuple[float, float]:
    """Range of one parameter; corner refuses one that does not vary."""
    low, high = float(row.min()), float(row.max())
    if low < high:
        return low, high
    room = abs(low) * 1e-6 or 1e-6
    return low - room, low + room


if __name__ == "__main__":
    main(sys.argv[1:])
