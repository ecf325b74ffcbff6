"""A pickle read as data: its instructions are followed here, and none of them calls anything.

Python's own reader imports what a pickle names and calls it with what the pickle says, so reading
is running. This one is a small machine of our own on a stack of plain values. The names and what
may be made of them are in `pickle_values`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

from firstlight.formats.pickle_values import (
    Being,
    Filled,
    Name,
    WrapperBeing,
    called,
    given_state,
    is_key,
    named,
)
from firstlight.formats.result_errors import ResultMalformed, ResultRefused, ResultTooLarge

__all__ = ["PickleReader"]

_WHERE = "analysis.results.data"
_MOST_STEPS = 3_000_000
_DEEPEST = 4  # pickles of arrays of objects within joblib's files
_PUSHED = frozenset(
    {
        "INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
        "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
        "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    }
)  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_FAULTS = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, EOFError)


class PickleReader:
    """Reads one pickle, also with arrays as joblib writes them between its instructions.

    Parameters
    ----------
    stream
        Stands at the first byte; afterwards behind the last one.
    most_steps
        Instructions that are followed.
    """

    def __init__(self, stream: BinaryIO, *, most_steps: int = _MOST_STEPS, depth: int = 0) -> None:
        self._stream = stream
        self._most_steps = most_steps
        self._depth = depth
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._frame_ends = 0

    def read(self) -> Any:
        """The value.

        Beings in it hold theirs as ``value``; see `firstlight.formats.joblib_document`.

        Raises
        ------
        ResultRefused
            It holds something else than data.
        ResultMalformed
            It is no pickle.
        ResultTooLarge
            It has too many instructions.
        """
        try:
            return self._read()
        except RecursionError as fault:
            raise ResultTooLarge("the pickle is nested too deep", field=_WHERE) from fault
        except _FAULTS as fault:
            raise ResultMalformed(
                "the pickle is damaged", field=_WHERE, found=str(fault)[:200]
            ) from fault

    def _read(self) -> Any:
        for count, (code, argument, _) in enumerate(pickletools.genops(self._stream)):
            if count >= self._most_steps:
                raise ResultTooLarge(
                    "the pickle has too many instructions",
                    field=_WHERE,
                    expected=f"at most {self._most_steps}",
                )
            if code.name == "STOP":
                self._check_frame()
                break
            self._step(code.name, argument)
        return self._stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _PUTS:
            self._memo[argument] = self._stack[-1]
        elif name in _GETS:
            self._recall(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self._stack[-_TUPLES[name] :] = [tuple(self._stack[-_TUPLES[name] :])]
        elif name in self._steps:
            self._steps[name](self)
        elif name in ("GLOBAL", "INST"):
            self._name(name, argument)
        elif name == "FRAME":
            self._begin_frame(argument)
        elif name != "PROTO":
            raise ResultRefused(
                "results refer to something outside of them", field=_WHERE, found=name
            )

    # --- frames ------------------------------------------------------------------------------

    # Python reads a frame as a whole, and joblib reads arrays from behind it. We read on. So a
    # frame that ends elsewhere than it should would mean one thing here and another there.

    def _begin_frame(self, size: int) -> None:
        self._check_frame()
        self._frame_ends = self._stream.tell() + size

    def _check_frame(self) -> None:
        if self._stream.tell() < self._frame_ends:
            raise ResultRefused("a frame of the pickle is longer than what is in it", field=_WHERE)

    # --- the stack ---------------------------------------------------------------------------

    def _recall(self, number: int) -> None:
        value = self._memo[number]
        if isinstance(value, WrapperBeing):  # joblib never does; there it is no array
            raise ResultRefused("the mark of an array is used twice", field=_WHERE)
        self._stack.append(value)

    def _drop(self) -> None:
        self._since_mark()

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    # --- what is made ------------------------------------------------------------------------

    def _append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _extend(self, items: list[Any]) -> None:
        whole = self._stack[-1]
        if not isinstance(whole, list):  # sets are lists here: nothing in them need be hashed
            raise ResultRefused("results add to something that is no list", field=_WHERE)
        whole.extend(items)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _set_items(self, items: list[Any]) -> None:
        whole = self._stack[-1]
        if not isinstance(whole, dict) or len(items) % 2:
            raise ResultRefused("results add to something that is no dictionary", field=_WHERE)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not is_key(key):
                raise ResultMalformed(
                    "a key is no text or number", field=_WHERE, found=type(key).__name__
                )
            whole[key] = value

    def _new_list(self) -> None:
        items = self._since_mark()
        self._stack.append(items)

    def _new_tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(tuple(items))

    def _new_dictionary(self) -> None:
        items = self._since_mark()
        self._stack.append({})
        self._set_items(items)

    # --- names -------------------------------------------------------------------------------

    def _name(self, how: str, text: str) -> None:
        name = named(text)
        if how == "INST":
            self._stack.append(called(name, tuple(self._since_mark())))
        else:
            self._stack.append(name)

    def _stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(name, str) or not isinstance(module, str) or " " in module + name:
            raise ResultRefused("results name something strange", field=_WHERE)
        self._stack.append(named(f"{module} {name}"))

    def _call(self) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        self._stack.append(called(function, arguments))

    def _call_with_keywords(self) -> None:
        if self._stack.pop() != {}:
            raise ResultRefused("results call something with keywords", field=_WHERE)
        self._call()

    def _object(self) -> None:
        function, *arguments = self._since_mark()
        self._stack.append(called(function, tuple(arguments)))

    def _build(self) -> None:
        state = self._stack.pop()
        being = self._stack[-1]
        if isinstance(being, Name):
            raise ResultRefused("results change a type", field=_WHERE, found=being.text)
        given_state(being, state)
        if isinstance(being, WrapperBeing):
            self._fill(being)
            filled = Filled()
            filled.value = being.value
            self._stack[-1] = filled  # an array now, that cannot be filled again

    def _fill(self, being: WrapperBeing) -> None:
        """Take the bytes of an array, which joblib writes behind the instruction."""
        self._check_frame()
        if being.holds_objects:
            if self._depth >= _DEEPEST:
                raise ResultTooLarge("arrays of objects are nested too deep", field=_WHERE)
            inner = PickleReader(
                self._stream, most_steps=self._most_steps, depth=self._depth + 1
            ).read()
            being.value = inner.value if isinstance(inner, Being) else inner
            return
        if being.aligned:
            padding = self._stream.read(1)
            self._stream.read(padding[0] if padding else 0)
        # More than there is cannot be read, so no claim of a size takes memory.
        being.fill(self._stream.read(being.size))

    _steps: ClassVar[dict[str, Callable[[PickleReader], None]]] = {
        "MARK": _mark,
        "POP": _pop,
        "POP_MARK": _drop,
        "DUP": lambda self: self._stack.append(self._stack[-1]),
        "MEMOIZE": _memoize,
        "EMPTY_LIST": lambda self: self._stack.append([]),
        "EMPTY_SET": lambda self: self._stack.append([]),
        "EMPTY_DICT": lambda self: self._stack.append({}),
        "EMPTY_TUPLE": lambda self: self._stack.append(()),
        "LIST": _new_list,
        "FROZENSET": _new_list,
        "TUPLE": _new_tuple,
        "DICT": _new_dictionary,
        "APPEND": _append,
        "APPENDS": lambda self: self._extend(self._since_mark()),
        "ADDITEMS": lambda self: self._extend(self._since_mark()),
        "SETITEM": _set_item,
        "SETITEMS": lambda self: self._set_items(self._since_mark()),
        "STACK_GLOBAL": _stack_name,
        "REDUCE": _call,
        "NEWOBJ": _call,
        "NEWOBJ_EX": _call_with_keywords,
        "OBJ": _object,
        "BUILD": _build,
    }
