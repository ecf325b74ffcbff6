"""Reads one body in a process of its own: ``python -m`` this, with a folder and limits.

In the folder it leaves the products as files, and ``told.json``: what is in the body, or what is
wrong with it.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from firstlight.errors import FirstlightError
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge
from firstlight.services.analyses.result_reader import BodyReader, ReaderLimits, read_json_body
from firstlight.services.analyses.result_reader_limits import limit_this_process

__all__ = ["main"]

TOLD = "told.json"


def main(arguments: list[str]) -> None:
    """Read the body that is described by one argument of JSON."""
    job = json.loads(arguments[0])
    folder = Path(job["folder"])
    limit_this_process(**job["process"])
    try:
        told = _read(Path(job["body"]), folder, job)
    except FirstlightError as fault:
        told = {"fault": fault.as_dict()}
    except MemoryError:
        told = {
            "fault": ResultTooLarge(
                "the results need more memory than reading them may take"
            ).as_dict()
        }
    except Exception as fault:  # noqa: BLE001, strangers' files find every gap of a library
        traceback.print_exc()
        told = {
            "fault": ResultMalformed(
                "the results could not be read", found=type(fault).__name__
            ).as_dict()
        }
    (folder / TOLD).write_text(json.dumps(told), encoding="utf-8")


def _read(body: Path, folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    limits = ReaderLimits(**job["limits"])
    products: list[dict[str, Any]] = []

    def keep(kind: str, number: int, name: str, media_type: str, data: bytes) -> None:
        file = f"{len(products)}.bin"
        (folder / file).write_bytes(data)
        products.append(
            {"kind": kind, "number": number, "name": name, "media_type": media_type, "file": file}
        )

    document, not_finite = read_json_body(body, limits)
    told = BodyReader(limits, keep).read(document, not_finite, needs_status=job["needs_status"])
    return {"told": told.as_dict(), "products": products}


if __name__ == "__main__":
    main(sys.argv[1:])
