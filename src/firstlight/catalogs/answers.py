"""Answers of catalogue services on disk: bounded, whole or not there, shared by processes."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.layout import Cone
from firstlight.formats.tables import BadTable, MissingTable, read_table, save_table

__all__ = ["Answers", "Question"]

logger = logging.getLogger(__name__)

NAME = re.compile(
    r"ra(?P<ra>[\d.]+)_dec(?P<dec>[+-][\d.]+)_r(?P<radius>[\d.]+)_m(?P<limit>-?[\d.]+)"
    r"(?P<part>_part)?\.parquet"
)


@dataclass(frozen=True)
class Question:
    """A cone as it was asked: degrees to five decimals, magnitude limit to two."""

    ra: float
    dec: float
    radius: float
    limit: float

    @property
    def stem(self) -> str:
        """The beginning of the file's name, which holds all of it."""
        return f"ra{self.ra:09.5f}_dec{self.dec:+09.5f}_r{self.radius:09.5f}_m{self.limit:05.2f}"


class Answers:
    """Kept answers of one catalogue.

    Each is one Parquet file: the question is in its name, and in its metadata with the query.
    It is put in place in one step, so that it is whole or not there. A damaged file is removed
    and asked for again. The files used longest ago go first when the room is used up.

    Parameters
    ----------
    folder
        Made when the first answer is kept.
    most_bytes
        Room for the files of this folder; 0 keeps nothing.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self.folder = folder
        self._most_bytes = most_bytes

    def find(self, question: Question, cone: Cone, limit: float) -> Mapping[str, Any] | None:
        """Columns of a kept answer that holds every star of a cone.

        Parameters
        ----------
        question
            The cone as it would be asked; an answer that is not complete serves only the very
            same question, so that what is found does not depend on what was asked before.
        cone, limit
            What is wanted, and how faint.
        """
        for path, kept, complete in self._kept():
            if kept == question or (complete and _contains(kept, cone, limit)):
                columns = self._read(path)
                if columns is not None:
                    return columns
        return None

    def keep(
        self,
        question: Question,
        columns: Mapping[str, Any],
        *,
        complete: bool,
        facts: Mapping[str, Any],
    ) -> None:
        """Write an answer. A full or read-only disk is logged, not raised: the stars are there."""
        if self._most_bytes == 0:
            return
        path = self.folder / f"{question.stem}{'' if complete else '_part'}.parquet"
        try:
            save_table(path, columns, metadata={**facts, **vars(question), "complete": complete})
            self._make_room(path)
        except OSError as err:
            logger.warning("cannot keep the answer in %s: %s", path, err)

    def _kept(self) -> Iterator[tuple[Path, Question, bool]]:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            found = NAME.fullmatch(path.name)
            if found:
                numbers = (float(found[key]) for key in ("ra", "dec", "radius", "limit"))
                yield path, Question(*numbers), found["part"] is None

    def _read(self, path: Path) -> Mapping[str, Any] | None:
        try:
            columns = read_table(path).columns
        except MissingTable:  # another process has just made room
            return None
        except BadTable as err:
            logger.warning("removing a damaged answer: %s", err)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # a read-only cache serves as well
            path.touch()
        return columns

    def _make_room(self, newest: Path) -> None:
        sizes = {path: path.stat() for path, _, _ in self._kept()}
        total = sum(facts.st_size for facts in sizes.values())
        for path in sorted(sizes, key=lambda p: sizes[p].st_mtime_ns):
            if total <= self._most_bytes:
                return
            if path != newest:
                path.unlink(missing_ok=True)
                total -= sizes[path].st_size


def _contains(kept: Question, cone: Cone, limit: float) -> bool:
    away = float(angular_separation(kept.ra, kept.dec, cone.ra, cone.dec))
    return away + cone.radius <= kept.radius and limit <= kept.limit
