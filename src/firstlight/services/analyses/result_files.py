"""Files of runs: bytes before rows, and never read without their checksum."""

from __future__ import annotations

import hashlib
import io
import uuid
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, MissingError
from firstlight.formats.plot_formats import PLOT_FORMATS
from firstlight.models.analysis import AnalysisFile, AnalysisFileKind
from firstlight.services.analyses.submissions import Product
from firstlight.storage import Store, build_key

__all__ = ["KeptFile", "ResultFileDamaged", "ResultFileMissing", "ResultFiles", "suffix_of"]

_PIECE = 1 << 18
_BUNDLE = ".zip"  # no single product has this suffix
_IN_ONE_FOLDER = 1000  # runs; a folder for each would cost further waits for the disk
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


@dataclass(frozen=True, slots=True)
class KeptFile:
    """What is stored and has no row so far; see `AnalysisFile`, which has the same names."""

    analysis_id: int
    kind: AnalysisFileKind
    number: int
    name: str
    media_type: str
    key: str
    size: int
    sha256: str


class ResultFiles:
    """Keeps what came of runs.

    Products that are small enough to be in memory are stored together, as one ZIP file that is
    not compressed: each file costs several waits for the disk.

    Parameters
    ----------
    store
        Bytes.
    """

    def __init__(self, *, store: Store) -> None:
        self._store = store

    def keep(self, analysis_id: int, products: Iterable[Product]) -> list[KeptFile]:
        """Store the bytes; whoever calls this saves or discards them.

        Keys are new each time, so two that keep results of one run at once do not meet.
        """
        given = list(products)
        start = f"{analysis_id}-{uuid.uuid4().hex}"
        place = ("portal", "analyses", str(analysis_id // _IN_ONE_FOLDER))
        small = [(each, each.data) for each in given if isinstance(each.data, bytes)]
        if len(small) == len(given) > 1:
            return self._together(analysis_id, build_key(*place, f"{start}{_BUNDLE}"), small)
        kept: list[KeptFile] = []
        try:
            # One after the other, so that a failure finds those before it.
            for each in given:
                key = build_key(*place, f"{start}-{_name_of(each)}")
                stored = self._store.put(key, each.data)
                kept.append(_kept(analysis_id, each, key, stored.size, stored.sha256))
        except BaseException:
            self.discard(kept)
            raise
        return kept

    def save(self, session: Session, kept: Sequence[KeptFile]) -> None:
        """Write the rows. Does not commit."""
        if kept:
            session.execute(insert(AnalysisFile), [asdict(each) for each in kept])

    def discard(self, kept: Iterable[KeptFile]) -> None:
        """Remove the bytes of what was not saved."""
        self.remove(each.key for each in kept)

    def keys_of(self, session: Session, analysis_ids: Iterable[int]) -> list[str]:
        """Keys of all files of some runs, for when the rows are gone."""
        theirs = AnalysisFile.analysis_id.in_(list(analysis_ids))
        return list(session.scalars(select(AnalysisFile.key).where(theirs).distinct()))

    def remove(self, keys: Iterable[str]) -> None:
        """Remove bytes; what is not there is no error."""
        for key in dict.fromkeys(keys):
            with suppress(MissingError):
                self._store.delete(key)

    def read(self, row: AnalysisFile | KeptFile) -> bytes:
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
        if row.key.endswith(_BUNDLE):
            data = _taken_out(data, row)
        _check(row, hashlib.sha256(data).hexdigest())
        return data

    def pieces(self, row: AnalysisFile) -> Iterator[bytes]:
        """The same piece by piece, for files that may be large; they are checked before.

        Raises
        ------
        ResultFileMissing, ResultFileDamaged
            Before the first piece; see `read`.
        """
        if row.key.endswith(_BUNDLE):
            return iter([self.read(row)])
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

    def _together(
        self, analysis_id: int, key: str, products: list[tuple[Product, bytes]]
    ) -> list[KeptFile]:
        bundle = io.BytesIO()
        kept = []
        with zipfile.ZipFile(bundle, "w") as opened:
            for each, data in products:
                opened.writestr(zipfile.ZipInfo(_name_of(each)), data)
                digest = hashlib.sha256(data).hexdigest()
                kept.append(_kept(analysis_id, each, key, len(data), digest))
        self._store.put(key, bundle.getvalue())
        return kept


def suffix_of(media_type: str) -> str:
    """What names of such files end with, without the dot."""
    return _SUFFIXES.get(media_type, "bin")


def _name_of(product: Product | AnalysisFile | KeptFile) -> str:
    parts = [str(product.kind), product.name, str(product.number)]
    return "-".join(part for part in parts if part) + f".{suffix_of(product.media_type)}"


def _kept(analysis_id: int, product: Product, key: str, size: int, sha256: str) -> KeptFile:
    return KeptFile(
        analysis_id=analysis_id,
        kind=product.kind,
        number=product.number,
        name=product.name,
        media_type=product.media_type,
        key=key,
        size=size,
        sha256=sha256,
    )


def _taken_out(bundle: bytes, row: AnalysisFile | KeptFile) -> bytes:
    """One product of a bundle; nothing, which its checksum tells, where that is damaged."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as opened, opened.open(_name_of(row)) as entry:
            return entry.read(row.size + 1)
    except Exception:  # noqa: BLE001, damaged bytes raise whatever they meet in the reader
        return b""


def _check(row: AnalysisFile | KeptFile, found: str) -> None:
    if found != row.sha256:
        raise ResultFileDamaged(
            subject=f"analysis {row.analysis_id}: {row.kind}",
            field="sha256",
            found=found,
            expected=row.sha256,
        )
