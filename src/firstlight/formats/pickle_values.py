"""The values that a pickle of results may hold, each made by a function of ours.

A pickle names a function and what to call it with. Here a name is only a key of a table: what is
in the table makes plain data, numpy arrays of plain numbers, dates; nothing that a name stands
for in Python is looked up, imported or called. A name that is not in the table is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np

from firstlight.formats.result_errors import ResultMalformed, ResultRefused

__all__ = [
    "ArrayBeing",
    "Being",
    "DtypeBeing",
    "Filled",
    "Name",
    "WrapperBeing",
    "called",
    "given_state",
    "is_key",
    "named",
]

_DTYPE = re.compile(r"[|<>=]?[?biufcSUVMmO]\d{0,6}")
_UNITS = frozenset(
    {"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as", "generic"}
)
_MOST_FIELDS = 256
_MOST_DIMENSIONS = 32
_LARGEST_ITEM = 1_000_000
_LONGEST_KEY = 16
_OBJECT_FLAGS = 0x07  # counted, pickled as a list, a pointer


@dataclass(frozen=True, slots=True)
class Name:
    """A name that stands in a pickle; it can be compared, and nothing else."""

    text: str


class Being:
    """A value that a pickle makes in two steps: an empty one first, then its state."""

    value: Any = None


class Filled(Being):
    """An array of joblib that is complete."""


class DtypeBeing(Being):
    """A type of numbers."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.value: np.dtype[Any] | None = None

    @property
    def holds_objects(self) -> bool:
        """Whether it is for Python's own objects."""
        return "O" in self.code

    def ready(self) -> np.dtype[Any]:
        """The type itself.

        Raises
        ------
        ResultMalformed
            It has not been given all that it needs.
        """
        if self.value is None:
            self.value = _plain_dtype(self.code)
        if self.value.itemsize < 1 or self.value.itemsize > _LARGEST_ITEM:
            raise ResultMalformed("a type of numbers has an impossible size", found=self.code)
        return self.value

    def take(self, state: Any) -> None:
        """Byte order, size, fields, unit, flags: as numpy writes them.

        Numpy believes its flags: with others than these it would take bytes for objects. And
        where it makes another size of the same state than we do, joblib would take data for
        instructions. Either would be found by whoever loads what was checked here.
        """
        version, order, base, names, fields, size = _tuple(state, 8)[:6]
        flags = state[7]
        if order not in ("|", "<", ">", "=") or version not in (3, 4) or type(flags) is not int:
            raise _strange("type of numbers")
        if self.holds_objects != (flags & _OBJECT_FLAGS == _OBJECT_FLAGS):
            raise ResultRefused("results hold arrays with wrong flags", found=self.code)
        if not self.holds_objects and flags & _OBJECT_FLAGS:
            raise ResultRefused("results hold arrays with wrong flags", found=self.code)
        kind = self.code.lstrip("|<>=")[:1]
        if kind == "O":
            return
        if kind in "Mm":
            self.value = np.dtype(f"{order}{kind}8{_unit(state)}")
        elif kind in "SU":
            length = size // (4 if kind == "U" else 1) if isinstance(size, int) else -1
            if not 0 <= length <= _LARGEST_ITEM:
                raise _strange("length of texts")
            self.value = np.dtype(f"{order}{kind}{length}")
        elif kind == "V":
            self.value = _compound(base, names, fields, size)
        else:
            self.value = _plain_dtype(order + self.code.lstrip("|<>="))
        if kind in "SUV" and self.value.itemsize != size:
            raise _strange("size of items")


class ArrayBeing(Being):
    """An array, or a nested list of objects in the place of one."""

    def take(self, state: Any) -> None:
        """Shape, type, order and bytes: as numpy writes them, the old way or the new."""
        parts = _tuple(state, 4)
        shape, dtype, fortran, data = parts[-4:]
        self.value = array_of(data, dtype, shape, "F" if fortran else "C")


class WrapperBeing(Being):
    """Joblib's mark that the bytes of an array follow in the file."""

    def take(self, state: Any) -> None:
        """What is told of the array."""
        if not isinstance(state, dict) or not set(state) <= _WRAPPER_KEYS:
            raise _strange("joblib's array")
        kind = state.get("subclass")
        if not isinstance(kind, Name) or kind.text not in _ARRAY_CLASSES:
            raise ResultRefused("results hold arrays of another class", found=_shown(kind))
        order, dtype = state.get("order"), state.get("dtype")
        if not isinstance(dtype, DtypeBeing) or order not in ("C", "F"):
            raise _strange("joblib's array")
        self.shape = _shape(state.get("shape"))
        self.order, self.dtype = order, dtype
        self.aligned = state.get("numpy_array_alignment_bytes") is not None

    @property
    def holds_objects(self) -> bool:
        """Whether another pickle follows instead of bytes."""
        return self.dtype.holds_objects

    @property
    def size(self) -> int:
        """Bytes that follow."""
        return math.prod(self.shape) * self.dtype.ready().itemsize

    def fill(self, data: bytes) -> None:
        """Take the bytes that followed."""
        self.value = array_of(data, self.dtype, self.shape, self.order)


def array_of(data: Any, dtype: Any, shape: Any, order: object) -> Any:
    """An array of bytes that are there, so that no claim of a shape takes memory.

    Raises
    ------
    ResultMalformed
        The bytes are not as many as the shape needs.
    """
    sizes = _shape(shape)
    if not isinstance(dtype, DtypeBeing) or order not in ("C", "F"):
        raise _strange("array")
    if dtype.holds_objects:
        if not isinstance(data, list) or math.prod(sizes) != len(data):
            raise _strange("array of objects")
        return _nested(data, sizes if order == "C" else sizes[::-1])
    kind, held = dtype.ready(), _bytes(data)
    if math.prod(sizes) * kind.itemsize != len(held):
        raise ResultMalformed(
            "an array has not as many bytes as its shape needs",
            found=len(held),
            expected=f"{sizes} of {kind}",
        )
    if not held:
        return np.zeros(sizes, kind)
    return np.frombuffer(held, kind).reshape(sizes, order="F" if order == "F" else "C")


def named(text: str) -> Name:
    """A name as a value.

    Raises
    ------
    ResultRefused
        Results may not hold it.
    """
    if text not in _MAKERS and text not in _CLASSES:
        raise ResultRefused(
            "results may hold numbers, text, lists, dictionaries, dates and numpy arrays only",
            field="analysis.results.data",
            found=text.replace(" ", ".")[:200],
            hint='convert other objects first, or send {"format": "json"}',
        )
    return Name(text)


def called(function: Any, arguments: Any) -> Any:
    """What a pickle makes by calling a name.

    Raises
    ------
    ResultRefused
        It calls something else.
    ResultMalformed
        Its arguments are not those that the function is called with.
    """
    if not isinstance(function, Name) or function.text not in _MAKERS:
        raise ResultRefused(
            "results call something that is no known type",
            field="analysis.results.data",
            found=_shown(function),
        )
    if not isinstance(arguments, tuple):
        raise _strange("arguments")
    return _MAKERS[function.text](arguments)


def given_state(being: Any, state: Any) -> None:
    """Give a value its state.

    Raises
    ------
    ResultRefused
        It is a value that needs none.
    """
    if isinstance(being, DtypeBeing | ArrayBeing | WrapperBeing):
        being.take(state)
    elif not isinstance(being, dict):  # the attributes of a dictionary are no results
        raise ResultRefused(
            "results give a state to something that has none", found=type(being).__name__
        )


def _shown(value: Any) -> str:
    """For messages; other values than these can be far longer than they look."""
    if isinstance(value, Name):
        return value.text.replace(" ", ".")
    return repr(value[:50]) if isinstance(value, str) else type(value).__name__


def _strange(what: str) -> ResultMalformed:
    return ResultMalformed(f"the {what} of a pickle is none that numpy or joblib writes")


def _tuple(value: Any, least: int) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or not least <= len(value) <= least + 2:
        raise _strange("state")
    return value


def _bytes(value: Any) -> bytes:
    """Bytes, also as Python 2 wrote them."""
    if isinstance(value, str):
        return value.encode("latin-1")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    raise _strange("data")


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,)
    if isinstance(value, tuple) and len(value) <= _MOST_DIMENSIONS:
        sizes = [each.value if isinstance(each, Being) else each for each in value]
        whole = [int(each) for each in sizes if isinstance(each, int | np.integer) and each >= 0]
        if len(whole) == len(value):
            return tuple(whole)
    raise _strange("shape")


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return flat[0]
    for size in reversed(shape[1:]):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)] if size else []
    return flat


def _plain_dtype(code: str) -> np.dtype[Any]:
    if not _DTYPE.fullmatch(code):
        raise ResultRefused("results hold arrays of a type that is not taken", found=code[:50])
    return np.dtype(code)


def _unit(state: tuple[Any, ...]) -> str:
    if len(state) < 9:
        return ""
    unit, count = _tuple(_tuple(state[8], 2)[1], 2)[:2]
    name = unit.decode("ascii", "replace") if isinstance(unit, bytes) else unit
    if name not in _UNITS or not isinstance(count, int) or not 0 < count < 10_000:
        raise _strange("unit of times")
    return "" if name == "generic" else f"[{count}{name}]"


def _compound(base: Any, names: Any, fields: Any, size: Any) -> np.dtype[Any]:
    if isinstance(base, tuple):
        inner, shape = _tuple(base, 2)[:2]
        if not isinstance(inner, DtypeBeing) or inner.holds_objects:
            raise _strange("type of arrays in arrays")
        return np.dtype((inner.ready(), _shape(shape)))
    if names is None:
        if not isinstance(size, int) or not 0 < size <= _LARGEST_ITEM:
            raise _strange("size of items")
        return np.dtype(f"V{size}")
    if not isinstance(names, tuple) or not isinstance(fields, Mapping) or len(names) > _MOST_FIELDS:
        raise _strange("fields")
    kinds, offsets = [], []
    for name in names:
        told = fields.get(name)
        if not isinstance(name, str) or not isinstance(told, tuple) or len(told) < 2:
            raise _strange("fields")
        if not isinstance(told[0], DtypeBeing) or told[0].holds_objects:
            raise ResultRefused("tables with columns of objects are not taken", found=name[:50])
        kinds.append(told[0].ready())
        offsets.append(told[1])
    facts = {"names": list(names), "formats": kinds, "offsets": offsets, "itemsize": size}
    return np.dtype(facts)  # type: ignore[call-overload, no-any-return]  # numpy checks these


def _dictionary(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if not arguments or isinstance(arguments[0], Name):  # the latter makes a default's values
        return {}
    pairs = arguments[0]
    if isinstance(pairs, Mapping):
        return dict(pairs)
    return dict(_pair(pair) for pair in _items(pairs))


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, list | tuple) and len(value) == 2 and is_key(value[0]):
        return value[0], value[1]
    raise _strange("dictionary")


def is_key(value: Any, depth: int = 0) -> bool:
    """Whether a dictionary may have it as a key.

    Tuples are looked into as far as anybody would use them: one that holds itself many times
    takes for ever to be looked at, and also to be hashed.
    """
    if isinstance(value, tuple):
        is_short = len(value) <= _LONGEST_KEY and depth < 2
        return is_short and all(is_key(each, depth + 1) for each in value)
    return value is None or isinstance(value, str | bytes | int | float | date | timedelta)


def _items(value: Any) -> list[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    raise _strange("list")


def _list(arguments: tuple[Any, ...]) -> list[Any]:
    return _items(arguments[0]) if arguments else []


def _encoded(arguments: tuple[Any, ...]) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    text, how = arguments
    if not isinstance(text, str) or how not in ("latin1", "latin-1"):
        raise _strange("text")
    return text.encode("latin-1")


def _reconstructed(arguments: tuple[Any, ...]) -> Any:
    """A dictionary of another class, or joblib's mark, as the oldest protocols write them."""
    kind, base, state = arguments
    if kind == _WRAPPER and state is None:
        return WrapperBeing()
    wanted = (Name("builtins dict"), Name("__builtin__ dict"))
    if not isinstance(kind, Name) or base not in wanted or not isinstance(state, dict):
        raise ResultRefused("results hold an object of another class", found=_shown(kind))
    return dict(state)


def _scalar(arguments: tuple[Any, ...]) -> Any:
    dtype, data = arguments
    if not isinstance(dtype, DtypeBeing):
        raise _strange("number")
    if dtype.holds_objects:
        return data
    array = array_of(data, dtype, (), "C")
    is_plain = array.dtype.kind not in "MmV" and array.dtype.itemsize <= 16
    return array.item() if is_plain and array.dtype.char not in "gG" else array


def _from_buffer(arguments: tuple[Any, ...]) -> ArrayBeing:
    data, dtype, shape, order = arguments
    made = ArrayBeing()
    made.value = array_of(data, dtype, shape, order)
    return made


def _empty_array(arguments: tuple[Any, ...]) -> ArrayBeing:
    kind = arguments[0] if arguments else None
    if not isinstance(kind, Name) or kind.text not in _ARRAY_CLASSES:
        raise ResultRefused("results hold arrays of another class", found=_shown(kind))
    return ArrayBeing()


def _dtype(arguments: tuple[Any, ...]) -> DtypeBeing:
    code = arguments[0] if arguments else None
    if len(arguments) > 3 or any(type(each) not in (bool, int) for each in arguments[1:]):
        raise _strange("type of numbers")
    if isinstance(code, bytes):
        code = code.decode("latin-1")
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise ResultRefused("results hold arrays of a type that is not taken", found=_shown(code))
    return DtypeBeing(code)


def _of_plain(kind: Callable[..., Any], *types: type) -> Callable[[tuple[Any, ...]], Any]:
    """A maker that calls a class of dates with plain arguments only."""

    def make(arguments: tuple[Any, ...]) -> Any:
        if not all(isinstance(each, types) for each in arguments):
            raise _strange("date")
        return kind(*arguments)

    return make


def _decimal(arguments: tuple[Any, ...]) -> float:
    text = arguments[0]
    if not isinstance(text, str) or len(text) > 400:
        raise _strange("number")
    return float(text)


_DICTIONARIES = (
    "builtins dict",
    "__builtin__ dict",
    "collections OrderedDict",
    "collections defaultdict",
    "sncosmo.utils Result",
    "scipy.optimize OptimizeResult",
    "scipy.optimize.optimize OptimizeResult",
    "scipy.optimize._optimize OptimizeResult",
    "nestle Result",
)
_ARRAY_CLASSES = frozenset(
    {
        "numpy ndarray",
        "numpy memmap",
        "numpy matrix",
        "numpy.core.memmap memmap",
        "numpy.matrixlib.defmatrix matrix",
    }
)
_CLASSES = _ARRAY_CLASSES | {
    f"{module} {name}"
    for module in ("builtins", "__builtin__")
    for name in ("int", "float", "str", "bool", "object", "unicode", "long")
}
_WRAPPER = Name("joblib.numpy_pickle NumpyArrayWrapper")
_WRAPPER_KEYS = frozenset(
    {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
)

_MAKERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    **dict.fromkeys(_DICTIONARIES, _dictionary),
    **{
        f"{module} {name}": make
        for module in ("builtins", "__builtin__")
        for name, make in {
            "list": _list,
            "tuple": lambda arguments: tuple(_list(arguments)),
            "set": _list,
            "frozenset": _list,
            "bytearray": lambda arguments: _bytes(arguments[0]) if arguments else b"",
            "bytes": lambda arguments: _bytes(arguments[0]) if arguments else b"",
            "complex": _of_plain(complex, float),
        }.items()
    },
    "_codecs encode": _encoded,
    "copyreg _reconstructor": _reconstructed,
    "copy_reg _reconstructor": _reconstructed,
    "datetime datetime": _of_plain(datetime, bytes, int, timezone),
    "datetime date": _of_plain(date, bytes, int),
    "datetime time": _of_plain(time, bytes, int, timezone),
    "datetime timedelta": _of_plain(timedelta, int),
    "datetime timezone": _of_plain(timezone, timedelta, str),
    "decimal Decimal": _decimal,
    _WRAPPER.text: lambda _: WrapperBeing(),
    "numpy dtype": _dtype,
    **{
        f"numpy.{core}.multiarray {name}": make
        for core in ("core", "_core")
        for name, make in {"_reconstruct": _empty_array, "scalar": _scalar}.items()
    },
    "numpy.core.numeric _frombuffer": _from_buffer,
    "numpy._core.numeric _frombuffer": _from_buffer,
}
