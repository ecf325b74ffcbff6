"""Files that pages need, served once: named by their content, packed, kept by browsers.

A page asks for ``/static/style.css?v=1f0c5a3b``. With the right number the answer may be kept
for ever, since another content has another number; without it browsers ask each time.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path

from starlette.datastructures import URL, Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["STATIC", "StaticFolder", "static_address"]

STATIC = Path(__file__).parent / "static"
_FOR_EVER = "public, max-age=31536000, immutable"
_PACKED = frozenset({".css", ".js", ".svg", ".wasm", ".html", ".txt"})
_WORTH_PACKING = 600
_TOLD = ("content-type", "last-modified", "vary")


@lru_cache(maxsize=256)
def static_address(name: str) -> str | None:
    """Where a file of the folder is served; ``None`` where there is no such file.

    Parameters
    ----------
    name
        Below the folder, as ``vendor/htmx.min.js``. What is below ``vendor`` is there only
        where Node was when the package was built.
    """
    path = STATIC / name
    return f"/static/{name}?v={_number(path)}" if path.is_file() else None


class StaticFolder(StaticFiles):
    """The folder of static files, packed for browsers that can unpack."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with one file."""
        answer = await super().get_response(path, scope)
        file = STATIC / path
        headers = Headers(scope=scope)
        whole = scope["method"] == "GET" and "range" not in headers
        if answer.status_code != HTTPStatus.OK or file.suffix not in _PACKED:
            return _kept(answer, file, scope)
        answer.headers["Vary"] = "Accept-Encoding"
        if whole and "gzip" in headers.get("accept-encoding", ""):
            packed = _packed(file, file.stat().st_mtime_ns)
            if packed is not None:
                told = {name: answer.headers[name] for name in _TOLD if name in answer.headers}
                answer = Response(packed, headers={**told, "Content-Encoding": "gzip"})
        return _kept(answer, file, scope)


def _kept(answer: Response, file: Path, scope: Scope) -> Response:
    asked = URL(scope=scope).query
    if answer.status_code == HTTPStatus.OK and asked == f"v={_number(file)}":
        answer.headers["Cache-Control"] = _FOR_EVER
    return answer


def _number(path: Path) -> str:
    return _hash(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(path: Path, changed_ns: int) -> str:  # noqa: ARG001, a changed file is another entry
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@lru_cache(maxsize=64)
def _packed(path: Path, changed_ns: int) -> bytes | None:
    beside = path.with_name(path.name + ".gz")
    if beside.is_file() and beside.stat().st_mtime_ns >= changed_ns:
        return beside.read_bytes()
    content = path.read_bytes()
    return gzip.compress(content, 6, mtime=0) if len(content) > _WORTH_PACKING else None
