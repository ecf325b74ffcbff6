"""Status: the loudest state speaks, the medians of the sections count."""

import itertools
import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.models import (
    Arrival,
    ArrivalState,
    Exposure,
    Image,
    ImageInput,
    Registration,
    SourceList,
    StepRun,
    StepState,
    WorldCoordinates,
    ZeroPoint,
)
from firstlight.models.provenance import Provenance, Software
from firstlight.provenance.lineage import Lineage
from firstlight.services.status import StatusService, _loudest

STEPS = ("preprocess", "find_sources", "solve_astrometry", "solve_photometry")
NUMBERS = itertools.count(1)
NOT_SOLVED = {"code": "astrometry.not_solved", "message": "not solved: clouds", "kind": "user"}


def _id() -> uuid.UUID:
    return uuid.UUID(int=next(NUMBERS))


class Night:
    """Rows as a reduction leaves them, with no files."""

    def __init__(self, session):
        self.session = session
        self.lineage = Lineage("step", "1")
        Provenance.record(session, self.lineage)
        self.made = {"provenance_id": self.lineage.id, "software_id": Software.record(session).id}

    def add(self, row):
        self.session.add(row)
        self.session.flush()
        return row

    def exposure(self, name, *, kind="science", mjd=60_000.0):
        exposure = Exposure(nofile=True, instrument="GenericFITS")
        exposure.id, exposure.filename = _id(), f"raw/GenericFITS/{name}"
        exposure.kind, exposure.mjd, exposure.filter = kind, mjd, "V"
        return self.add(exposure)

    def section(self, exposure, section, *, fwhm=3.0, rms=0.2, matched=50, zero=20.0):
        image = self.add(
            Image(
                id=_id(), kind="science", exposure_id=exposure.id, instrument="GenericFITS",
                section_id=section, mjd=60_000.0, nx=10, ny=10, gain=1.0, read_noise=1.0,
                calibration={}, header={}, filename=f"{uuid.uuid4()}.fits", **self.made,
            )
        )  # fmt: skip
        sources = self.add(
            SourceList(
                id=_id(), image_id=image.id, n_sources=100, fwhm=fwhm, background=1.0, noise=1.0,
                aperture_radii=[1.0], aperture_corrections=[0.0], measures={},
                filename=f"{uuid.uuid4()}.parquet", **self.made,
            )
        )  # fmt: skip
        if rms is None:
            return image, sources
        wcs = self.add(
            WorldCoordinates(
                id=_id(), sources_id=sources.id, cards={}, catalog="c", method="hinted",
                pixel_scale=2.0, rms_arcsec=rms, rms_pixels=rms / 2, n_matched=matched,
                log_odds=99.0, radius=1.0, **self.made,
            )
        )  # fmt: skip
        zero_point = self.add(
            ZeroPoint(
                id=_id(), sources_id=sources.id, wcs_id=wcs.id, catalog="c", band="V",
                system="Vega", ab_offset=0.0, zero_point=zero, zero_point_err=0.01, scatter=0.1,
                n_stars=40, n_rejected=1, aperture=0, aperture_correction=0.0, **self.made,
            )
        )  # fmt: skip
        return image, sources, wcs, zero_point

    def runs(self, exposure, section, products, *, last="done", error=None):
        """All steps that have a product done, the next one `last`, the rest skipped."""
        for number, step in enumerate(STEPS):
            state = StepState.SKIPPED.value
            if number < len(products):
                state = StepState.DONE.value
            elif number == len(products):
                state = last
            self.add(
                StepRun(
                    exposure_id=exposure.id, section_id=section, step=step, number=number,
                    state=state, provenance_id=self.lineage.id, notes={},
                    product_id=products[number].id if number < len(products) else _id(),
                    error=error if state == "failed" else None,
                )
            )  # fmt: skip


@pytest.fixture
def told(database):
    """Run a function on an empty night and return the status by name of exposure."""

    def tell(fill):
        with database.begin() as session:
            fill(Night(session))
        return {each.exposure: each for each in StatusService(database=database).exposures()}

    return tell


def test_an_empty_archive(told):
    assert told(lambda night: None) == {}


def test_what_is_archived_waits(told):
    entry = told(lambda night: night.exposure("a.fits"))["a.fits"]
    assert (entry.state, entry.steps, entry.sections) == ("queued", {}, [])


def test_a_reduced_exposure_has_the_medians_of_its_sections(told):
    def fill(night):
        exposure = night.exposure("a.fits")
        for section, fwhm, rms, zero in (("0", 3.0, 0.2, 20.0), ("1", 5.0, 0.4, 21.0)):
            products = night.section(exposure, section, fwhm=fwhm, rms=rms, zero=zero)
            night.runs(exposure, section, products)

    entry = told(fill)["a.fits"]
    assert entry.state == "done"
    assert [section.section for section in entry.sections] == ["0", "1"]
    assert entry.fwhm_arcsec == pytest.approx(8.0), "pixels times the scale of the solution"
    assert entry.astrometric_rms_arcsec == pytest.approx(0.3)
    assert entry.zero_point == pytest.approx(20.5)
    assert entry.zero_point_err == pytest.approx(0.01)
    assert entry.n_matched == 100
    assert list(entry.steps) == list(STEPS)


def test_a_failed_section_speaks_for_the_exposure(told):
    def fill(night):
        exposure = night.exposure("a.fits")
        night.runs(exposure, "0", night.section(exposure, "0"))
        products = night.section(exposure, "1", rms=None)
        night.runs(exposure, "1", products, last="failed", error=NOT_SOLVED)

    entry = told(fill)["a.fits"]
    assert entry.state == "failed"
    assert entry.error == NOT_SOLVED
    assert [step["state"] for step in entry.steps.values()] == [
        "done", "done", "failed", "skipped",
    ]  # fmt: skip
    assert entry.steps["solve_astrometry"]["error"] == NOT_SOLVED
    assert entry.zero_point == 20.0, "of the section that has one"
    assert [section.state for section in entry.sections] == ["done", "failed"]


def test_products_of_earlier_parameters_do_not_count(told):
    def fill(night):
        exposure = night.exposure("a.fits")
        night.section(exposure, "0", zero=15.0)
        night.runs(exposure, "0", night.section(exposure, "0", zero=20.0))

    assert told(fill)["a.fits"].zero_point == 20.0


def test_a_frame_that_is_registered_says_so(told):
    def fill(night):
        exposure = night.exposure("a.fits")
        image, sources = night.section(exposure, "0", rms=None)
        _, other = night.section(exposure, "1", rms=None)
        night.runs(exposure, "0", (image, sources), last="failed", error=NOT_SOLVED)
        night.add(
            Registration(
                id=_id(), sources_id=sources.id, reference_sources_id=other.id,
                matrix=[[1, 0, 5], [0, 1, 6]], rms_pixels=0.1, n_matched=30, log_odds=50.0,
                **night.made,
            )
        )  # fmt: skip

    entry = told(fill)["a.fits"]
    assert entry.state == "failed", "it has no place on the sky all the same"
    assert entry.sections[0].registration["matrix"] == [[1, 0, 5], [0, 1, 6]]
    assert entry.fwhm_arcsec is None, "neither a solution nor a header tells the scale"


def test_calibration_frames_are_done_when_a_master_holds_them(told):
    def fill(night):
        used, _ = night.exposure("used.fits", kind="bias"), night.exposure("not.fits", kind="bias")
        image = night.section(night.exposure("a.fits"), "0")[0]
        night.add(ImageInput(image_id=image.id, role="bias", number=0, input_exposure_id=used.id))

    entries = told(fill)
    assert (entries["used.fits"].state, entries["not.fits"].state) == ("done", "archived")


def test_refused_files_come_last_with_their_reason(told):
    def fill(night):
        night.exposure("b.fits", mjd=60_001.0)
        night.exposure("a.fits", mjd=60_000.0)
        refused = Arrival(
            source="/incoming/cut.fits",
            state=ArrivalState.QUARANTINED.value,
            error={"code": "fits.truncated_data"},
        )
        taken = Arrival(source="/incoming/a.fits", state=ArrivalState.ARCHIVED.value)
        for arrival in (refused, taken):
            arrival.identify()
            night.add(arrival)

    entries = told(fill)
    assert list(entries) == ["a.fits", "b.fits", "cut.fits"]
    assert entries["cut.fits"].state == "quarantined"
    assert entries["cut.fits"].error == {"code": "fits.truncated_data"}
    assert entries["cut.fits"].exposure_id is None


def test_it_is_json(told):
    def fill(night):
        exposure = night.exposure("a.fits")
        night.runs(exposure, "0", night.section(exposure, "0"))

    text = json.dumps(told(fill)["a.fits"].as_dict(), allow_nan=False)
    wanted = {"state", "fwhm_arcsec", "astrometric_rms_arcsec", "n_matched", "zero_point",
              "zero_point_err", "error", "steps"}  # fmt: skip
    assert wanted <= set(json.loads(text))


@given(st.lists(st.sampled_from(list(StepState)), min_size=1), st.randoms())
def test_one_failure_is_never_hidden(states, shuffle):
    loud = _loudest(states)
    shuffle.shuffle(states)
    assert _loudest(states) == loud, "the order does not matter"
    assert loud in {state.value for state in states}
    if StepState.FAILED in states:
        assert loud == "failed"
    elif loud == "done":
        assert set(states) == {StepState.DONE}
