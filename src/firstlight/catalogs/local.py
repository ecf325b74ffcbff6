"""A reference catalogue on your own disk: a folder of Parquet files, or a HATS catalogue."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from firstlight.algorithms.sky.sky_index import ORDER, cone_ranges
from firstlight.catalogs.base import ReferenceStars
from firstlight.catalogs.catalog_settings import LocalCatalogSettings
from firstlight.catalogs.epoch import FASTEST_ARCSEC_PER_YEAR
from firstlight.catalogs.layout import Cone, StarLayout, stars_in_cone
from firstlight.errors import BadFile, BadSettings, InvalidInput, MissingError

__all__ = [
    "CatalogColumnMissing",
    "CatalogFileBad",
    "CatalogFilesMissing",
    "LocalCatalog",
]

SUFFIXES = (".parquet", ".parq", ".pq")
PROPERTIES = ("hats.properties", "properties")
PARTITION = re.compile(r"Norder=(\d+)/(?:Dir=\d+/)?Npix=(\d+)(?:/|\.)")
MOST_RANGES = 256
LONGEST_FOOTER = 64 * 2**20


class CatalogFilesMissing(MissingError):
    """There is no catalogue at this path."""

    code = "catalog.missing"


class CatalogColumnMissing(BadSettings):
    """The settings name a column that the catalogue does not have."""

    code = "catalog.column"


class CatalogFileBad(BadFile):
    """A file of the catalogue cannot be read."""

    code = "catalog.file_bad"


class LocalCatalog:
    """Stars from Parquet files, skipping the files and row groups that lie elsewhere.

    Files of a HATS catalogue are chosen by the HEALPix cell in their name; all files by the
    extremes of position in their footers. See https://hats.readthedocs.io for the layout of
    HATS.

    Parameters
    ----------
    name
        What settings call it.
    settings
        Where it is, and what its columns mean.

    Raises
    ------
    CatalogFilesMissing
        Nothing is at the path, or no Parquet file is.
    CatalogColumnMissing
        A column of the layout is not in the files.
    CatalogFileBad
        A file cannot be read.
    """

    def __init__(self, name: str, settings: LocalCatalogSettings) -> None:
        self.name = name
        self._root = _primary(_existing(settings.path))
        self._properties = _properties(self._root)
        self._layout = settings.layout
        if self._properties is not None:
            self._layout = settings.layout.model_copy(
                update={
                    "ra": self._properties.get("hats_col_ra", settings.layout.ra),
                    "dec": self._properties.get("hats_col_dec", settings.layout.dec),
                }
            )
        self._files = _parquet_files(self._root, hats=self._properties is not None)
        self._schema = self._checked_schema()

    @cached_property
    def release(self) -> str:
        """The name and a checksum of what describes the data.

        Of a HATS catalogue: its properties and the names and sizes of its files. Of plain
        files: their names, sizes and footers, which change with every value's extremes.
        """
        digest = hashlib.sha256()
        for kept in PROPERTIES:
            if self._root.is_dir() and (self._root / kept).is_file():
                digest.update((self._root / kept).read_bytes())
        base = self._root if self._root.is_dir() else self._root.parent
        for path in self._files:
            digest.update(f"{path.relative_to(base).as_posix()} {path.stat().st_size}\n".encode())
            if self._properties is None:
                digest.update(_footer(path))
        return f"{self.name}-{digest.hexdigest()[:12]}"

    def cone(
        self,
        ra: float,
        dec: float,
        radius: float,
        *,
        epoch: float = 2000.0,
        faintest: float | None = None,
    ) -> ReferenceStars:
        """Stars within `radius` degrees of (`ra`, `dec`), brightest first.

        See `ReferenceCatalog.cone`.

        Raises
        ------
        CatalogFileBad
            A file is damaged, or has gone since the catalogue was opened.
        """
        if not (np.isfinite([ra, dec, radius]).all() and radius >= 0.0 and abs(dec) <= 90.0):
            raise InvalidInput("there is no such cone", field="cone", found=(ra, dec, radius))
        years = abs(epoch - self._layout.reference_epoch)
        if self._layout.epoch is not None:
            years = max(years, 100.0)  # the rows' own epochs are not known yet
        # Far enough that a star which moves into the cone is read as well.
        reach = min(radius + FASTEST_ARCSEC_PER_YEAR / 3600.0 * years, 180.0)
        table = self._read(ra % 360.0, dec, reach, faintest)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        return stars_in_cone(columns, self._layout, Cone(ra, dec, radius, epoch, faintest))

    def _checked_schema(self) -> pa.Schema:
        """Columns of the layout, as the first file has them."""
        try:
            found = pq.read_schema(self._files[0])
        except (pa.ArrowException, OSError) as err:
            raise CatalogFileBad(subject=self._files[0], found=err) from err
        for column in self._layout.column_names():
            if column not in found.names:
                near = difflib.get_close_matches(column, found.names, n=1, cutoff=0.5)
                raise CatalogColumnMissing(
                    subject=self._root,
                    field=column,
                    expected=f"one of {', '.join(found.names)}",
                    hint=f"did you mean {near[0]!r}?" if near else None,
                )
        return pa.schema([found.field(name) for name in self._layout.column_names()])

    @cached_property
    def _fragments(self) -> list[Any]:
        """One a file; each keeps its footer once it has been read."""
        # Here, for whoever reads stars: it loads pandas where that is installed, and plans of
        # work need no more of a catalogue than its release.
        import pyarrow.dataset as ds  # noqa: PLC0415, see above

        try:
            dataset = ds.dataset([str(path) for path in self._files], format="parquet")
        except (pa.ArrowException, OSError) as err:
            raise CatalogFileBad(subject=self._files[0], found=err) from err
        return list(dataset.get_fragments())

    def _read(self, ra: float, dec: float, reach: float, faintest: float | None) -> pa.Table:
        wanted = _box(self._layout, ra, dec, reach)
        if faintest is not None:
            wanted &= pc.field(self._layout.mag) <= faintest
        tables = []
        for fragment in self._overlapping(ra, dec, reach):
            try:
                part = fragment.subset(filter=wanted)
                if part.row_groups:
                    tables.append(
                        part.to_table(schema=self._schema, filter=wanted, use_threads=False)
                    )
            except (pa.ArrowException, OSError) as err:
                raise CatalogFileBad(subject=fragment.path, found=err) from err
        return pa.concat_tables(tables) if tables else self._schema.empty_table()

    def _overlapping(self, ra: float, dec: float, reach: float) -> list[Any]:
        if self._properties is None or self._root.is_file():
            return self._fragments
        ranges = np.array(cone_ranges(ra, dec, max(reach, 1e-6), max_ranges=MOST_RANGES))
        spans = self._spans
        touched = (spans[:, :1] < ranges[None, :, 1]) & (spans[:, 1:] > ranges[None, :, 0])
        return [self._fragments[i] for i in np.flatnonzero(touched.any(axis=1))]

    @cached_property
    def _spans(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Half-open range of order-29 cells of each file, shape ``(files, 2)``."""
        spans = []
        for fragment in self._fragments:
            found = PARTITION.search(Path(fragment.path).as_posix())
            # A file that does not say where it lies may lie anywhere.
            order, cell = (int(found[1]), int(found[2])) if found else (0, None)
            shift = 2 * (ORDER - order)
            spans.append((0, 12 << shift) if cell is None else (cell << shift, (cell + 1) << shift))
        return np.array(spans, dtype=np.int64)


def _existing(path: Path) -> Path:
    path = path.expanduser()
    if path.exists():
        return path
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    raise CatalogFilesMissing(
        subject=path, hint=f"did you mean {path.parent / near[0]}?" if near else None
    )


def _primary(path: Path) -> Path:
    """The catalogue itself, where the path is a HATS collection (catalogue, margins, indexes)."""
    facts = path / "collection.properties"
    if not facts.is_file():
        return path
    name = _key_values(facts).get("hats_primary_table_url", "")
    if not name or not (path / name).is_dir():
        raise CatalogFileBad(
            subject=facts,
            field="hats_primary_table_url",
            found=name or "none",
            expected="the name of a folder in the collection",
        )
    return path / name


def _properties(root: Path) -> dict[str, str] | None:
    for name in PROPERTIES:
        if root.is_dir() and (root / name).is_file():
            return _key_values(root / name)
    return None


def _key_values(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def _parquet_files(root: Path, *, hats: bool) -> list[Path]:
    if root.is_file():
        return [root]
    found: Iterable[Path] = (p for p in root.rglob("*") if p.suffix in SUFFIXES and p.is_file())
    if hats:
        found = (p for p in found if PARTITION.search(p.relative_to(root).as_posix()))
    files = sorted(p for p in found if not p.name.startswith(("_", ".")))
    if not files:
        raise CatalogFilesMissing(
            "the folder holds no Parquet files",
            subject=root,
            expected="Norder=*/Dir=*/Npix=*.parquet" if hats else f"*{', *'.join(SUFFIXES)}",
        )
    return files


def _footer(path: Path) -> bytes:
    """The last part of a Parquet file: its schema, sizes and extremes."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(max(0, size - 8 - min(length, LONGEST_FOOTER)))
        return stream.read()


def _box(layout: StarLayout, ra: float, dec: float, reach: float) -> Any:
    """The condition that a row lies in the box around a cone, true of all rows in the cone."""
    margin = 1e-6  # float32 columns round; the exact cut comes later
    north, south = dec + reach + margin, dec - reach - margin
    declination = pc.field(layout.dec)
    inside = (declination >= south) & (declination <= north)
    if north >= 90.0 or south <= -90.0:
        return inside  # a pole lies in the cone: every right ascension does
    width = np.degrees(np.arcsin(min(1.0, np.sin(np.radians(reach)) / np.cos(np.radians(dec)))))
    width += 1e-4
    longitude = pc.field(layout.ra)
    turns = None
    # Right ascension may run from -180 to 180 in the file, and the cone may cross 0.
    for turn in (-360.0, 0.0, 360.0):
        low, high = ra + turn - width, ra + turn + width
        if high < -180.0 or low > 360.0:
            continue
        part = (longitude >= low) & (longitude <= high)
        turns = part if turns is None else turns | part
    return inside & turns
