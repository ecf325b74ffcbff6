"""Fakes in reduced images: put in and looked for in memory; their account is all that is kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, MissingError
from firstlight.formats.tables import write_table
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.measurement import MeasurementSet
from firstlight.models.provenance import Provenance, Software
from firstlight.models.psf import PSF
from firstlight.models.quality import FakeSet
from firstlight.models.reference import Reference
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.models.zero_point import ZeroPoint
from firstlight.pipeline.fakes import FakeWish, inject_and_find
from firstlight.pipeline.recipe import Recipe
from firstlight.pipeline.step import Workpiece
from firstlight.pipeline.steps.find_changes import FindChanges
from firstlight.pipeline.steps.measure_changes import MeasureChanges
from firstlight.pipeline.steps.subtract import Subtract
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.exposure_names import named
from firstlight.services.products import save_rows, section_stem
from firstlight.services.references.choice import load_products
from firstlight.storage.store import Store

__all__ = ["FakeReport", "FakeService", "NothingCompared"]

VERSION = "2"


class NothingCompared(MissingError):
    """No image of this exposure has been compared with a reference."""

    code = "fakes.nothing_compared"


@dataclass(frozen=True)
class FakeReport:
    """How many artificial transients of one image were found.

    Attributes
    ----------
    limiting_magnitude, limit_err
        AB, at which half of them are found and kept; None where they cannot tell.
    flux_bias, bias_err
        Mean of measured over injected flux, less one.
    error
        Why there is no answer.
    """

    exposure: str
    section: str
    fakes: int = 0
    found: int = 0
    kept: int = 0
    limiting_magnitude: float | None = None
    limit_err: float | None = None
    flux_bias: float | None = None
    bias_err: float | None = None
    bins: tuple[dict[str, Any], ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"bins": list(self.bins)}


class FakeService:
    """Puts artificial transients into images that have a reference.

    Parameters
    ----------
    database, store
        Rows, and where the tables of fakes go.
    changes
        The recipe whose steps look for them.
    """

    def __init__(self, *, database: Database, store: Store, changes: Callable[[], Recipe]) -> None:
        self._database = database
        self._store = store
        self._changes = changes

    def sections(self, exposure: str | None = None) -> list[tuple[uuid.UUID, str]]:
        """Exposures and sections that are compared with a reference, in the order of time.

        Parameters
        ----------
        exposure
            Name or id of one; None for all.

        Raises
        ------
        NothingCompared
            There is none.
        """
        query = (
            select(Exposure.id, StepRun.section_id)
            .join(StepRun, StepRun.exposure_id == Exposure.id)
            .where(StepRun.step == MeasureChanges.name, StepRun.state == StepState.DONE.value)
            .order_by(Exposure.mjd, Exposure.id, StepRun.section_id)
        )
        if exposure is not None:
            query = query.where(named(exposure))
        with self._database.reading() as session:
            found = [(row[0], row[1]) for row in session.execute(query)]
        if not found:
            raise NothingCompared(
                subject=exposure,
                hint="firstlight status has the names; reference build, then reduce compare",
            )
        return found

    def run(self, sections: list[tuple[uuid.UUID, str]], wish: FakeWish) -> Iterator[FakeReport]:
        """Try each section; one that cannot be tried is told, and the others go on."""
        for exposure, section in sections:
            yield self._try(exposure, section, wish)

    def _try(self, exposure_id: uuid.UUID, section: str, wish: FakeWish) -> FakeReport:
        with self._database.reading() as session:
            piece, measured = _load(session, exposure_id, section)
        name = piece.exposure.label
        lineage = self._lineage(wish)
        ident = product_id(lineage.id, {"measure_changes": measured.id}, section)
        try:
            row = self._known(ident) or self._make(piece, measured, wish, (lineage, ident))
        except FirstlightError as fault:
            return FakeReport(name, section, error=str(fault))
        finally:
            piece.exposure.data.clear_cache()
        told = row.summary
        return FakeReport(
            exposure=name,
            section=section,
            fakes=row.n_fakes,
            found=row.n_found,
            kept=int(told["kept"]),
            limiting_magnitude=row.limiting_magnitude,
            limit_err=told["limit_kept_err"],
            flux_bias=row.flux_bias,
            bias_err=told["bias_err"],
            bins=tuple(told["bins"]),
        )

    def _lineage(self, wish: FakeWish) -> Lineage:
        parameters = {"number": wish.number, "hosted": wish.hosted, "seed": wish.seed}
        above = self._changes().lineages[MeasureChanges.name]
        return Lineage("fakes", VERSION, parameters, (above,))

    def _known(self, ident: uuid.UUID) -> FakeSet | None:
        with self._database.reading() as session:
            return session.get(FakeSet, ident)

    def _make(
        self,
        piece: Workpiece,
        measured: MeasurementSet,
        wish: FakeWish,
        made_by: tuple[Lineage, uuid.UUID],
    ) -> FakeSet:
        lineage, ident = made_by
        steps = {step.name: step for step in self._changes().steps}
        fakes = inject_and_find(
            piece,
            (
                cast("Subtract", steps[Subtract.name]),
                cast("FindChanges", steps[FindChanges.name]),
                cast("MeasureChanges", steps[MeasureChanges.name]),
            ),
            wish,
        )
        summary = fakes.summary() | {"kept": int(fakes.table["kept"].sum())}
        row = FakeSet(
            image_id=measured.image_id,
            reference_id=measured.reference_id,
            n_fakes=fakes.table.rows,
            n_found=int(fakes.table["found"].sum()),
            limiting_magnitude=summary["limit_kept"],
            flux_bias=summary["bias"],
            summary=summary,
        )
        row.made_by(lineage, {}, "")
        row.id = ident
        stem = section_stem(piece.exposure, piece.section_id)
        row.filename = f"fakes/{piece.exposure.instrument}/{stem}-{ident.hex[:12]}.parquet"
        content = write_table(fakes.table.columns, units=fakes.table.units)
        row.sha256 = self._store.put(row.filename, content, overwrite=True).sha256
        with self._database.begin() as session:
            Software.record(session)
            Provenance.record(session, lineage)
            save_rows(session, [row])
        return row


def _load(
    session: Session, exposure_id: uuid.UUID, section: str
) -> tuple[Workpiece, MeasurementSet]:
    """A section with the products that its runs name."""
    exposure = session.get_one(Exposure, exposure_id)
    runs = select(StepRun).where(StepRun.exposure_id == exposure_id, StepRun.section_id == section)
    ids = {run.step: run.product_id for run in session.scalars(runs)}
    measured = session.get_one(MeasurementSet, ids[MeasureChanges.name])
    piece = Workpiece(
        exposure,
        section,
        image=session.get_one(Image, ids["preprocess"]),
        sources=session.get_one(SourceList, ids["find_sources"]),
        wcs=session.get_one(WorldCoordinates, ids["solve_astrometry"]),
        zero_point=session.get_one(ZeroPoint, ids["solve_photometry"]),
        psf=session.get_one(PSF, ids["fit_psf"]),
    )
    reference = session.get_one(Reference, measured.reference_id)
    piece.reference = load_products(session, reference)
    return piece, measured
