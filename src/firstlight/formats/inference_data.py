"""The posterior in a netCDF file of ArviZ, read without following it anywhere.

An HDF5 file can refer to other files of the machine that reads it: by links, by data kept
outside, by data sets put together of others. It can claim sizes that it does not have, and ask
for plug-ins. None of this is followed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from firstlight.formats.plain_document import clean_text
from firstlight.formats.posterior_samples import MOST_PARAMETERS
from firstlight.formats.result_errors import ResultMalformed, ResultRefused, ResultTooLarge

__all__ = ["NETCDF", "Posterior", "read_posterior"]

NETCDF = "application/x-netcdf"
"""Media type of what is read here."""
_WHERE = "analysis.inference_data"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_NETCDF3 = b"CDF"
_MOST_MEMBERS = 10_000
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
_FAULTS = (
    OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError,
    SystemError,
)  # fmt: skip


@dataclass
class Posterior:
    """Samples as they were found.

    Attributes
    ----------
    columns
        Of each parameter its draws, chain after chain; an element of a vector is a parameter.
    sent
        Draws in the file.
    notes
        What was left out.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    sent: int = 0
    notes: list[str] = field(default_factory=list)


def read_posterior(data: bytes, *, most_bytes: int, most_numbers: int) -> Posterior:
    """Samples of the group ``posterior``, thinned evenly to `most_numbers` in all.

    Parameters
    ----------
    most_bytes
        That one variable, or one chunk of it, may take.

    Raises
    ------
    ResultMalformed
        It is no file of ArviZ, or damaged.
    ResultRefused
        It refers to other files.
    ResultTooLarge
        A variable is larger than allowed.
    """
    if data.startswith(_NETCDF3):
        raise ResultMalformed(
            "netCDF 3 has no groups, so no posterior",
            field=_WHERE,
            expected="netCDF 4, as InferenceData.to_netcdf writes it",
        )
    if not data.startswith(_HDF5):
        raise ResultMalformed(
            "this is no netCDF file", field=_WHERE, found=repr(data[:8]), expected="netCDF 4"
        )
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            _check_links(file)
            return _posterior(_member(file, "posterior"), most_bytes, most_numbers)
    except _FAULTS as fault:
        raise ResultMalformed(
            "the netCDF file is damaged", field=_WHERE, found=str(fault)[:200]
        ) from fault


def _check_links(file: Any) -> None:
    """The file is given back to people, so no part of it may lead elsewhere.

    Raises
    ------
    ResultRefused
        There is a link to something else, or data in other files.
    """

    def of_link(name: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else name

    found = file.visititems_links(of_link)
    if found is not None:
        raise ResultRefused(
            "the netCDF file has links", field=_WHERE, found=clean_text(str(found))[:100]
        )


def _posterior(group: Any, most_bytes: int, most_numbers: int) -> Posterior:
    if not isinstance(group, h5py.Group):
        raise ResultMalformed(
            "the netCDF file has no group with the posterior",
            field=_WHERE,
            expected="posterior",
        )
    found = Posterior()
    variables = dict(_variables(group, most_bytes, found.notes))
    shape = _shape_of_draws(group, variables)
    found.sent = math.prod(shape)
    used = dict(_fitting(variables, shape, found.notes))
    width = sum(_width(each, shape) for each in used.values())
    if not width or not found.sent:
        raise ResultMalformed("the posterior has no samples", field=f"{_WHERE}.posterior")
    draws = max(1, min(found.sent, most_numbers // width))
    chosen = np.linspace(0, found.sent - 1, draws).round().astype(np.intp)
    for name, variable in used.items():
        rows = np.asarray(variable[()], np.float64).reshape(found.sent, -1)[chosen]
        for number, label in enumerate(_labels(name, variable.shape[len(shape) :])):
            found.columns[label] = np.ascontiguousarray(rows[:, number])
    return found


def _member(group: Any, name: str) -> Any:
    """A member that lies in the file itself; None where there is none.

    Raises
    ------
    ResultRefused
        It is a link to something else.
    """
    link = group.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ResultRefused(
            "the netCDF file has links", field=_WHERE, found=clean_text(str(name))[:100]
        )
    return group.get(name)


def _variables(group: Any, most_bytes: int, notes: list[str]) -> Iterator[tuple[str, Any]]:
    if len(group) > _MOST_MEMBERS:
        raise ResultTooLarge("the posterior has too many variables", field=_WHERE)
    for name in group:
        variable = _member(group, name)
        label = clean_text(str(name))[:100]
        if not isinstance(variable, h5py.Dataset):
            continue
        _check(variable, label, most_bytes)
        if variable.dtype.kind in "fiub":
            yield label, variable
        elif "CLASS" not in variable.attrs:  # names of coordinates are texts
            notes.append(f"inference_data: {label} has no numbers and is not shown")


def _check(variable: Any, name: str, most_bytes: int) -> None:
    plan = variable.id.get_create_plist()
    if variable.is_virtual or plan.get_external_count():
        raise ResultRefused("the netCDF file has data in other files", field=_WHERE, found=name)
    filters = {plan.get_filter(number)[0] for number in range(plan.get_nfilters())}
    if not filters <= _FILTERS:
        raise ResultMalformed(
            "the netCDF file is packed in a way that is not read here",
            field=_WHERE,
            found=f"{name}: filters {sorted(filters)}",
            hint="to_netcdf writes with zlib",
        )
    size = variable.dtype.itemsize
    shapes = [variable.shape or (), variable.chunks or ()]
    if any(math.prod(shape) * size > most_bytes for shape in shapes):
        raise ResultTooLarge(
            "a variable of the posterior is too large",
            field=_WHERE,
            found=f"{name}: {variable.shape}",
            expected=f"at most {most_bytes} bytes",
        )


def _shape_of_draws(group: Any, variables: dict[str, Any]) -> tuple[int, ...]:
    """Numbers of chains and draws, or of draws alone."""
    sizes = [len(variables[name]) for name in ("chain", "draw") if _is_axis(variables.get(name))]
    if len(sizes) != 2:
        raise ResultMalformed(
            "the posterior needs the dimensions chain and draw",
            field=f"{_WHERE}.posterior",
            found=", ".join(sorted(clean_text(str(name)) for name in group))[:200],
        )
    return tuple(sizes)


def _is_axis(variable: Any) -> bool:
    return variable is not None and variable.ndim == 1


def _fitting(
    variables: dict[str, Any], shape: tuple[int, ...], notes: list[str]
) -> Iterator[tuple[str, Any]]:
    """Those that have a value for each draw, as long as there is room for them."""
    room = MOST_PARAMETERS
    for name, variable in variables.items():
        if "CLASS" in variable.attrs or (variable.shape or ())[: len(shape)] != shape:
            continue  # an axis, or something that does not change from draw to draw
        width = _width(variable, shape)
        if width > room:
            notes.append(f"inference_data: {name} has {width} elements and is not shown")
            continue
        room -= width
        yield name, variable


def _width(variable: Any, shape: tuple[int, ...]) -> int:
    return math.prod(variable.shape[len(shape) :])


def _labels(name: str, shape: tuple[int, ...]) -> list[str]:
    if not shape:
        return [name]
    return [f"{name}[{','.join(map(str, place))}]" for place in np.ndindex(*shape)]
