"""JSON from strangers: one value for each key, no more depth or digits than can be handled."""

from __future__ import annotations

import json
from typing import Any

from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge

__all__ = ["StrictJson"]


class StrictJson:
    """Reads JSON text.

    Attributes
    ----------
    not_finite
        How many ``NaN`` and ``Infinity`` were read as null; they are no JSON, but Python's own
        writer writes them.
    """

    def __init__(self) -> None:
        self.not_finite = 0

    def read(self, text: str | bytes, where: str) -> Any:
        """Values of a text in UTF-8.

        A number beyond the range of float64, as ``1e999``, comes back infinite.

        Parameters
        ----------
        where
            What the text is called, for messages.

        Raises
        ------
        ResultMalformed
            It is no JSON, is not in UTF-8, or an object has a key twice.
        ResultTooLarge
            It is nested too deep for any reader.
        """
        try:
            if isinstance(text, bytes):
                text = text.decode("utf-8-sig")
            return json.loads(text, object_pairs_hook=self._object, parse_constant=self._constant)
        except RecursionError as fault:
            raise ResultTooLarge("lists and objects are nested too deep", field=where) from fault
        except UnicodeDecodeError as fault:
            raise ResultMalformed(
                "the text is not UTF-8", field=where, found=f"byte {fault.start}"
            ) from fault
        except _TwiceError as fault:
            raise ResultMalformed(
                "an object has a key twice", field=where, found=repr(fault.args[0])[:100]
            ) from fault
        except ValueError as fault:
            raise ResultMalformed(
                "the text is no JSON", field=where, found=str(fault)[:200]
            ) from fault

    def _constant(self, name: str) -> None:
        del name
        self.not_finite += 1

    @staticmethod
    def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    raise _TwiceError(key)
                seen.add(key)
        return made


class _TwiceError(Exception):
    """A key comes twice; told with its object's place by whoever knows it."""
