"""What came of runs, for whoever may see them: plots, results, posteriors, light curves."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import MissingError
from firstlight.formats.plot_formats import PLOT_FORMATS
from firstlight.formats.posterior_samples import unpack
from firstlight.models.analysis import Analysis, AnalysisFile, AnalysisFileKind
from firstlight.models.database import Database
from firstlight.services.access import Viewer
from firstlight.services.analyses.analyses import AnalysisMissing, visible_run
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.corner_plots import CornerPlots
from firstlight.services.analyses.result_files import ResultFiles, suffix_of
from firstlight.services.analyses.result_reader_process import LimitedPrograms
from firstlight.storage import Store

__all__ = ["AnalysisProducts", "ProductFile", "ProductMissing", "whole"]

_MOST_IN_JSON = 200_000  # numbers of a posterior within an answer; else those that pages draw
_FORMATS = {each.media_type: each for each in PLOT_FORMATS.values()}
_LARGE = 4_000_000


class ProductMissing(MissingError):
    """The analysis has no such product."""

    code = "analysis.no_product"


@dataclass(frozen=True)
class ProductFile:
    """A file to be sent.

    Attributes
    ----------
    data
        Its bytes, or pieces of them: what may be large is never held as a whole.
    name
        Under which a browser saves it.
    sha256
        Hexadecimal; of the bytes.
    is_active
        Whether it could run something in a browser that opens it as a page.
    """

    data: bytes | Iterator[bytes]
    media_type: str
    name: str
    sha256: str
    is_active: bool = False


class AnalysisProducts:
    """Gives out what is kept of runs. What one may not see is missing.

    Parameters
    ----------
    database, store
        Rows and bytes.
    """

    def __init__(
        self, *, database: Database, store: Store, settings: AnalysisSettings | None = None
    ) -> None:
        settings = settings or AnalysisSettings()
        self._database = database
        self._files = ResultFiles(store=store)
        self._corners = CornerPlots(
            database=database,
            files=self._files,
            programs=LimitedPrograms(
                at_once=settings.readers_at_once,
                memory_bytes=settings.reader_memory_mb << 20,
                timeout_s=settings.reader_timeout_s,
                file_bytes=settings.max_unpacked_bytes,
            ),
        )

    def plot(
        self, viewer: Viewer, analysis_id: int, number: int = 0, *, obj_id: str | None = None
    ) -> ProductFile:
        """One plot, counted from 0.

        Raises
        ------
        ProductMissing
            There are fewer.
        """
        run, rows = self._rows(viewer, analysis_id, obj_id, AnalysisFileKind.PLOT)
        found = next((row for row in rows if row.number == number), None)
        if not rows:
            raise ProductMissing("No plot data found for this Analysis.", subject=analysis_id)
        if found is None:
            are = "is" if len(rows) == 1 else "are"
            plots = "plot" if len(rows) == 1 else "plots"
            raise ProductMissing(
                f"Invalid plot number. There {are} {len(rows)} {plots} available for this analysis",
                subject=analysis_id,
            )
        return self._sent(found, f"analysis_{run.id}_plot_{number}")

    def results(self, viewer: Viewer, analysis_id: int, *, obj_id: str | None = None) -> Any:
        """The results as plain values.

        Raises
        ------
        ProductMissing
            There are none.
        """
        file = self.results_file(viewer, analysis_id, obj_id=obj_id)
        return json.loads(whole(file))

    def results_file(
        self, viewer: Viewer, analysis_id: int, *, obj_id: str | None = None
    ) -> ProductFile:
        """The results as a file of JSON; see `results`."""
        run, rows = self._rows(viewer, analysis_id, obj_id)
        if not rows:
            raise ProductMissing("No data found for this Analysis.", subject=analysis_id)
        row = _of_kind(rows, AnalysisFileKind.RESULTS)
        if row is None:
            raise ProductMissing("No results data found for this Analysis.", subject=analysis_id)
        name = obj_id or self._name_of_object(viewer, run.id)
        return self._sent(row, f"analysis_{name}")

    def posterior(
        self, viewer: Viewer, analysis_id: int, *, obj_id: str | None = None, complete: bool = False
    ) -> ProductFile:
        """Samples: ``{"models": {model: {parameter: [...]}}, "draws", "drawn_of"}`` to be drawn.

        Parameters
        ----------
        complete
            All that were kept, as a file for numpy.
        """
        row = self._one(viewer, analysis_id, obj_id, AnalysisFileKind.POSTERIOR, not complete)
        return self._sent(row, f"analysis_{analysis_id}_posterior")

    def light_curves(
        self, viewer: Viewer, analysis_id: int, *, obj_id: str | None = None
    ) -> ProductFile:
        """Light curves: ``{"models": {model: {filter: [[mjd, median, low, high], ...]}}}``."""
        row = self._one(viewer, analysis_id, obj_id, AnalysisFileKind.LIGHT_CURVES)
        return self._sent(row, f"analysis_{analysis_id}_lightcurves")

    def inference_data(
        self, viewer: Viewer, analysis_id: int, *, obj_id: str | None = None
    ) -> ProductFile:
        """The netCDF file of ArviZ, as it was sent."""
        row = self._one(viewer, analysis_id, obj_id, AnalysisFileKind.INFERENCE_DATA)
        return self._sent(row, f"analysis_{analysis_id}")

    def corner(
        self,
        viewer: Viewer,
        analysis_id: int,
        options: Mapping[str, Any] | None = None,
        *,
        obj_id: str | None = None,
    ) -> ProductFile:
        """A corner plot of the posterior.

        Parameters
        ----------
        options
            See `firstlight.services.analyses.corner_options`.

        Raises
        ------
        ProductMissing
            There is no posterior.
        InvalidInput, CornerFailed
            It cannot be drawn like this.
        """
        row = self._one(viewer, analysis_id, obj_id, AnalysisFileKind.POSTERIOR)
        picture, sha256 = self._corners.plot(row, options or {})
        return ProductFile(
            picture,
            "image/png",
            f"analysis_{analysis_id}_corner.png",
            sha256 or hashlib.sha256(picture).hexdigest(),
        )

    def data(
        self, viewer: Viewer, analysis_id: int, *, obj_id: str | None = None
    ) -> dict[str, Any]:
        """Everything that was sent, in the form in which it was sent; empty if nothing was.

        Results that came as joblib are the bytes that came, in base64: they hold nothing but
        data, or they would not have been kept.
        """
        run, rows = self._rows(viewer, analysis_id, obj_id)
        facts = run.facts or {}
        found: dict[str, Any] = {}
        plots = [row for row in rows if row.kind == AnalysisFileKind.PLOT]
        if plots:
            told = facts.get("plots") or []
            found["plots"] = [self._plot_document(row, told) for row in plots]
        found |= self._results_document(rows)
        netcdf = _of_kind(rows, AnalysisFileKind.INFERENCE_DATA)
        if netcdf is not None:
            found["inference_data"] = {
                "format": "netcdf4",
                "data": _base64(self._files.read(netcdf)),
            }
        found |= self._posterior_document(rows) | self._curves_document(rows)
        if found:
            names = ("model_name", "n_detections")
            found |= {name: facts[name] for name in names if facts.get(name) is not None}
        return found

    # --- as it was sent ----------------------------------------------------------------------

    def _plot_document(self, row: AnalysisFile, told: list[dict[str, Any]]) -> dict[str, Any]:
        kind = _FORMATS[row.media_type].name
        title = told[row.number].get("title") if row.number < len(told) else ""
        document = {"format": kind, "type": kind, "data": _base64(self._files.read(row))}
        return {**document, "title": title} if title else document

    def _results_document(self, rows: list[AnalysisFile]) -> dict[str, Any]:
        sent = _of_kind(rows, AnalysisFileKind.RESULTS_AS_SENT)
        if sent is not None:
            data = _base64(self._files.read(sent))
            return {"results": {"format": "joblib", "data": data}}
        row = _of_kind(rows, AnalysisFileKind.RESULTS)
        if row is None:
            return {}
        return {"results": {"format": "json", "data": json.loads(self._files.read(row))}}

    def _posterior_document(self, rows: list[AnalysisFile]) -> dict[str, Any]:
        row = _of_kind(rows, AnalysisFileKind.POSTERIOR)
        if row is None:
            return {}
        models: dict[str, Any]
        if row.size <= _MOST_IN_JSON * 8:
            models = {
                name: samples.columns() for name, samples in unpack(self._files.read(row)).items()
            }
        else:
            drawn = _of_kind(rows, AnalysisFileKind.POSTERIOR, "drawn")
            models = {} if drawn is None else json.loads(self._files.read(drawn))["models"]
        if len(models) == 1:
            return {"posterior_samples": next(iter(models.values()))}
        return {"posteriors": models}

    def _curves_document(self, rows: list[AnalysisFile]) -> dict[str, Any]:
        row = _of_kind(rows, AnalysisFileKind.LIGHT_CURVES)
        if row is None:
            return {}
        models = json.loads(self._files.read(row))["models"]
        if len(models) == 1:
            return {"model_lightcurve": next(iter(models.values()))}
        return {"model_lightcurves": models}

    # --- rows --------------------------------------------------------------------------------

    def _rows(
        self,
        viewer: Viewer,
        analysis_id: int,
        obj_id: str | None,
        kind: AnalysisFileKind | None = None,
    ) -> tuple[Analysis, list[AnalysisFile]]:
        with self._database.reading() as session:
            run = _run(session, viewer, analysis_id, obj_id)
            query = select(AnalysisFile).where(AnalysisFile.analysis_id == run.id)
            if kind is not None:
                query = query.where(AnalysisFile.kind == kind)
            else:
                query = query.where(AnalysisFile.kind.not_in(_APART))
            rows = session.scalars(query.order_by(AnalysisFile.number, AnalysisFile.id)).all()
            return run, list(rows)

    def _one(
        self,
        viewer: Viewer,
        analysis_id: int,
        obj_id: str | None,
        kind: AnalysisFileKind,
        drawn: bool = False,
    ) -> AnalysisFile:
        _, rows = self._rows(viewer, analysis_id, obj_id, kind)
        row = _of_kind(rows, kind, "drawn" if drawn else "")
        if row is None:
            what = kind.value.replace("_", " ")
            raise ProductMissing(f"No {what} data found for this Analysis.", subject=analysis_id)
        return row

    def _name_of_object(self, viewer: Viewer, analysis_id: int) -> str:
        with self._database.reading() as session:
            return visible_run(session, viewer, analysis_id)[1].name

    def _sent(self, row: AnalysisFile, name: str) -> ProductFile:
        kind = _FORMATS.get(row.media_type)
        is_large = row.size > _LARGE
        return ProductFile(
            self._files.pieces(row) if is_large else self._files.read(row),
            row.media_type,
            f"{name}.{suffix_of(row.media_type)}",
            row.sha256,
            is_active=kind is not None and kind.is_active,
        )


def whole(file: ProductFile) -> bytes:
    """All bytes of a file."""
    return file.data if isinstance(file.data, bytes) else b"".join(file.data)


_APART = (AnalysisFileKind.INPUTS, AnalysisFileKind.CORNER)  # not sent by the service


def _run(session: Session, viewer: Viewer, analysis_id: int, obj_id: str | None) -> Analysis:
    run, thing = visible_run(session, viewer, analysis_id)
    if obj_id is not None and thing.name != obj_id:
        raise AnalysisMissing("Cannot access this Analysis.", subject=analysis_id)
    return run


def _of_kind(
    rows: list[AnalysisFile], kind: AnalysisFileKind, name: str = ""
) -> AnalysisFile | None:
    return next((row for row in rows if row.kind == kind and row.name == name), None)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
