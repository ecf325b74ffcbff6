"""Files of runs: bytes before rows, and never read without their checksum."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, MissingError
from firstlight.formats.plot_formats import PLOT_FORMATS
from firstlight.models.analysis import AnalysisFile
from firstlight.services.analyses.submissions import Product
from firstlight.storage import Store, build_key

__all__ = ["ResultFileDamaged", "ResultFileMissing", "ResultFiles"]

_PIECE = 1 << 18
_SUFFIXES = {
    "application/json": "json",
    "application/x-npz": "npz",
    "application/x-netcdf": "nc",
    **{each.media_type: each.name for each in PLOT_FORMATS.values()},
}


class ResultFileMissing(MissingError):
    """The file of this run is not in the store."""

    code = "analysis.file_missing"


class ResultFileDamaged(ConflictError):
    """The file of this run is not the one that was stored."""

    code = "analysis.file_damaged"


class ResultFiles:
    """Keeps what came of runs.

    Parameters
    ----------
    store
        Bytes.
    """

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def keep(self, analysis_id: int, products: Iterable[Product]) -> list[AnalysisFile]:
        """Store the bytes; return rows that the caller saves in its own transaction.

        Keys are new each time, so two that keep results of one run at once do not meet. Whoever
        does not save the rows discards them.
        """
        folder = uuid.uuid4().hex
        rows: list[AnalysisFile] = []
        try:
            # One after the other, so that a failure finds those before it.
            rows.extend(self._kept(analysis_id, folder, product) for product in products)
        except BaseException:
            self.discard(rows)
            raise
        return rows

    def discard(self, rows: Iterable[AnalysisFile]) -> None:
        """Remove the bytes of rows that were not saved."""
        self.remove(row.key for row in rows)

    def keys_of(self, session: Session, analysis_ids: Iterable[int]) -> list[str]:
        """Keys of all files of some runs, for when the rows are gone."""
        query = select(AnalysisFile.key).where(AnalysisFile.analysis_id.in_(list(analysis_ids)))
        return list(session.scalars(query))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove bytes; what is not there is no error."""
        for key in keys:
            with suppress(MissingError):
                self._store.delete(key)

    def read(self, row: AnalysisFile) -> bytes:
        """The bytes, as they were stored.

        Raises
        ------
        ResultFileMissing
            They are gone.
        ResultFileDamaged
            They have changed.
        """
        try:
            data = self._store.read(row.key)
        except MissingError as fault:
            raise ResultFileMissing(subject=f"analysis {row.analysis_id}: {row.kind}") from fault
        _check(row, hashlib.sha256(data).hexdigest())
        return data

    def pieces(self, row: AnalysisFile) -> Iterator[bytes]:
        """The same piece by piece, for files that may be large; they are checked before.

        Raises
        ------
        ResultFileMissing, ResultFileDamaged
            Before the first piece; see `read`.
        """
        try:
            _check(row, self._store.checksum(row.key).sha256)
        except MissingError as fault:
            raise ResultFileMissing(subject=f"analysis {row.analysis_id}: {row.kind}") from fault
        return self._pieces(row.key)

    def _pieces(self, key: str) -> Iterator[bytes]:
        # Opened when the first piece is asked for, so that nothing is left open if none is.
        with self._store.open(key) as stream:
            while piece := stream.read(_PIECE):
                yield piece

    def _kept(self, analysis_id: int, folder: str, product: Product) -> AnalysisFile:
        suffix = _SUFFIXES.get(product.media_type, "bin")
        parts = [product.kind.value, product.name, str(product.number)]
        name = "-".join(part for part in parts if part)
        key = build_key("portal", "analyses", str(analysis_id), folder, f"{name}.{suffix}")
        stored = self._store.put(key, product.data)
        return AnalysisFile(
            analysis_id=analysis_id,
            kind=product.kind,
            number=product.number,
            name=product.name,
            media_type=product.media_type,
            key=stored.key,
            size=stored.size,
            sha256=stored.sha256,
        )


def _check(row: AnalysisFile, found: str) -> None:
    if found != row.sha256:
        raise ResultFileDamaged(
            subject=f"analysis {row.analysis_id}: {row.kind}",
            field="sha256",
            found=found,
            expected=row.sha256,
        )
