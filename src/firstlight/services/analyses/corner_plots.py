"""Corner plots of posteriors, made when they are first asked for, and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from firstlight.errors import UserError
from firstlight.formats.result_errors import ResultUnreadable
from firstlight.models.analysis import AnalysisFile, AnalysisFileKind
from firstlight.models.database import Database
from firstlight.services.analyses.corner_options import corner_options, options_key
from firstlight.services.analyses.reading_folders import new_folder
from firstlight.services.analyses.result_files import ResultFiles
from firstlight.services.analyses.result_reader_process import LimitedPrograms
from firstlight.services.analyses.submissions import Product

__all__ = ["CornerFailed", "CornerPlots"]

_CHILD = "firstlight.services.analyses.corner_drawing"
_PICTURE = "corner.png"
_TOLD = "told.json"
_PNG = "image/png"
_MOST_KEPT = 20  # of one run; others are made anew each time


class CornerFailed(UserError):
    """The corner plot cannot be drawn."""

    code = "analysis.corner_failed"


class CornerPlots:
    """Draws in a process of its own.

    Parameters
    ----------
    database, files
        Rows and bytes.
    programs
        Runs it.
    """

    def __init__(
        self, *, database: Database, files: ResultFiles, programs: LimitedPrograms
    ) -> None:
        self._database = database
        self._files = files
        self._programs = programs

    def plot(self, posterior: AnalysisFile, options: Mapping[str, Any]) -> tuple[bytes, str]:
        """A PNG, and its SHA-256 in hexadecimal where it is kept, else empty.

        Parameters
        ----------
        posterior
            The file with all samples of the run.
        options
            See `corner_options`.

        Raises
        ------
        InvalidInput
            An option is not known or has a wrong value.
        CornerFailed
            The samples and options do not make a plot.
        """
        chosen = corner_options(options)
        name = options_key(chosen)
        kept = self._kept(posterior.analysis_id)
        if name in kept:
            return self._files.read(kept[name]), kept[name].sha256
        picture = self._drawn(posterior, chosen)
        if len(kept) >= _MOST_KEPT:
            return picture, ""
        product = Product(AnalysisFileKind.CORNER, 0, name, _PNG, picture)
        return picture, self._keep(posterior.analysis_id, product)

    def _kept(self, analysis_id: int) -> dict[str, AnalysisFile]:
        with self._database.reading() as session:
            rows = session.scalars(
                select(AnalysisFile).where(
                    AnalysisFile.analysis_id == analysis_id,
                    AnalysisFile.kind == AnalysisFileKind.CORNER,
                )
            )
            return {row.name: row for row in rows}

    def _keep(self, analysis_id: int, product: Product) -> str:
        kept = self._files.keep(analysis_id, [product])
        try:
            with self._database.begin() as session:
                self._files.save(session, kept)
            return kept[0].sha256
        except IntegrityError:  # another one was quicker, or the run has been removed
            self._files.discard(kept)
            return ""
        except BaseException:
            self._files.discard(kept)
            raise

    def _drawn(self, posterior: AnalysisFile, chosen: dict[str, Any]) -> bytes:
        folder = new_folder("corner")
        try:
            samples = folder / "samples.npz"
            samples.write_bytes(self._files.read(posterior))
            with suppress(ResultUnreadable):
                self._programs.run(_CHILD, {"samples": str(samples), "options": chosen}, folder)
            if (folder / _PICTURE).is_file() and not (folder / _TOLD).exists():
                return (folder / _PICTURE).read_bytes()
            raise CornerFailed(found=_reason(folder / _TOLD))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _reason(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["message"])
    except (OSError, ValueError):
        return "it takes too much time or memory"
