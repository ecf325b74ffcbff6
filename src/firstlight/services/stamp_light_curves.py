"""Light curves from stamps: for each observation with a camera whose colours are sections."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from firstlight.algorithms.flags import Flag
from firstlight.algorithms.light_curves.mosaic_sky import BANDS
from firstlight.algorithms.light_curves.stamp_light_curves import ReferenceRules, StampLightCurves
from firstlight.algorithms.light_curves.star_trends import event_gain
from firstlight.algorithms.light_curves.variability import find_variables, light_curve_statistics
from firstlight.algorithms.sky.barycentre import bjd_tdb
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars
from firstlight.errors import FirstlightError, UserError
from firstlight.formats.tables import write_table
from firstlight.instruments.mosaic_camera import MosaicCamera
from firstlight.models.base import finite_or_none
from firstlight.models.database import Database, bulk_insert
from firstlight.models.object import coordinate_name
from firstlight.models.observation_file import ObservationFile, ObservationFileRole
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Provenance, ProvenanceTag, Software
from firstlight.pipeline.catalogue_stars import CatalogueStars, SolvedFrame, catalogue_stars
from firstlight.pipeline.reduced_frame import ReducedFrame
from firstlight.pipeline.stamp_light_curves import (
    DESCRIPTIONS,
    UNITS,
    VERSION,
    MosaicFrame,
    ObservationStamps,
    cut_observation,
)
from firstlight.provenance.fingerprint import product_id
from firstlight.provenance.lineage import Lineage
from firstlight.services.colour_settings import StampLightCurveSettings
from firstlight.services.object_matching import belonging, objects_at
from firstlight.services.objects.object_summary import summarise
from firstlight.services.observation_frames import reduced_frames
from firstlight.storage import Store, build_key
from firstlight.work.engine import JobRequest

__all__ = ["StampLightCurveService", "UnknownBias"]

CURRENT = "current"
# Failures of other systems and of ours may pass; those of the data stay until something changes.
PASSING = frozenset({"remote", "internal"})
PROCESS = "stamp_light_curves"
ALL_COLOURS = "".join(BANDS)
_PREFERRED = ("G", "R", "B")  # whose solution and sources place the stars: green has most light
_NARROWEST, _WIDEST = 1.6, 5.0
_PIXEL_SHARE = 1.25  # of the squared width that is measured in a colour's image
# What reductions know of pixels; saturation is seen on the mosaic itself.
_TAKEN = int(Flag.BAD | Flag.COSMIC_RAY | Flag.TRAIL | Flag.LOW_FLAT)
Floats = NDArray[np.float64]


class UnknownBias(UserError):
    """The camera's level without light is not known, so no electrons can be counted."""

    code = "stamp_light_curve.unknown_bias"


@dataclass(frozen=True)
class _Exposed:
    """One exposure with its reduced colours; the first of `_PREFERRED` that is solved leads."""

    lead: ReducedFrame
    colours: dict[str, ReducedFrame]

    @property
    def camera(self) -> MosaicCamera:
        camera = self.lead.exposure.instrument_object
        assert isinstance(camera, MosaicCamera)  # noqa: S101, only those are planned
        return camera

    @property
    def header(self) -> dict[str, Any]:
        """Of the mosaic."""
        return dict(self.lead.exposure.raw_header)


@dataclass(frozen=True)
class _Task:
    """An observation as its present products allow; ids follow from them."""

    observation: uuid.UUID
    exposed: list[_Exposed]
    inputs: list[str]


@dataclass(frozen=True)
class _Solved:
    """All that is saved of an observation."""

    stars: CatalogueStars
    ra: Floats
    dec: Floats
    mag: Floats
    stamps: ObservationStamps
    curves: StampLightCurves


class StampLightCurveService:
    """Plans, makes and stores stamps and the light curves that they give.

    Parameters
    ----------
    database, store
        Rows and bytes.
    catalog
        Where stars come from.
    upstream
        Lineages of the solutions and source lists that are taken.
    settings
        Matching, references and apertures.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        catalog: ReferenceCatalog,
        upstream: tuple[Lineage, ...],
        settings: StampLightCurveSettings,
    ) -> None:
        self._database = database
        self._store = store
        self._catalog = catalog
        self._settings = settings
        parameters = {
            **settings.model_dump(mode="json"),
            "catalog": f"{catalog.name} {catalog.release}",
        }
        self.lineage = Lineage(PROCESS, VERSION, parameters, upstream)

    def plan(
        self, retry_failed: bool = False, observations: Collection[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """One job for each observation in colours whose solved exposures have changed.

        What failed for reasons of the data is not tried again, unless asked.
        """
        requests = []
        with self._database.reading() as session:
            for task in self._tasks(session, observations):
                ident = self._set_id(task, ALL_COLOURS)
                there = session.get(LightCurveSet, ident)
                if there is None or (retry_failed and not there.n_stars):
                    requests.append(
                        JobRequest(
                            job_id=f"stamp-light-curves-{ident.hex}",
                            name=PROCESS,
                            payload={"observation": str(task.observation)},
                        )
                    )
        with self._database.begin() as session:
            ProvenanceTag.point(session, CURRENT, self.lineage)
        return requests

    def solve(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Cut the stamps of one observation, make its light curves, and save both.

        Returns
        -------
        dict
            ``stars``: how many have stamps. ``failures``: one sentence where there can be no
            light curves.
        """
        wanted = uuid.UUID(payload["observation"])
        with self._database.reading() as session:
            task = next(iter(self._tasks(session, [wanted])), None)
        if task is None:
            return {"stars": 0, "failures": ["stamps: too few solved exposures"]}
        try:
            solved = self._solved(task)
        except FirstlightError as fault:
            fault.subject = f"{task.exposed[0].lead.exposure.target or 'field'}, stamps"
            if fault.kind not in PASSING:
                self._save_failure(task, fault)
            return {"stars": 0, "failures": [f"stamps: {fault}"]}
        row = self._write_stamps(task, solved)
        with self._database.begin() as session:
            self._save(session, task, solved, row)
        return {"stars": len(solved.ra), "failures": []}

    # --- what there is ---------------------------------------------------------------------

    def _tasks(self, session: Session, observations: Collection[uuid.UUID] | None) -> list[_Task]:
        colours: dict[uuid.UUID, dict[uuid.UUID, dict[str, ReducedFrame]]] = defaultdict(dict)
        for (observation, section), frames in reduced_frames(session, observations).items():
            for frame in frames:
                if isinstance(frame.exposure.instrument_object, MosaicCamera):
                    exposure = frame.exposure.id
                    colours[observation].setdefault(exposure, {})[section] = frame
        tasks = []
        for observation, exposures in colours.items():
            exposed = [e for of in exposures.values() if (e := _exposed(of)) is not None]
            exposed.sort(key=lambda e: (e.lead.image.mjd, str(e.lead.exposure.id)))
            if len(exposed) >= self._settings.min_exposures:
                inputs = [i for e in exposed for i in e.lead.product_ids]
                inputs += [str(f.image.id) for e in exposed for f in e.colours.values()]
                tasks.append(_Task(observation, exposed, sorted(inputs)))
        return tasks

    def _set_id(self, task: _Task, section: str) -> uuid.UUID:
        return product_id(self.lineage.id, task.inputs, section)

    # --- making ----------------------------------------------------------------------------

    def _solved(self, task: _Task) -> _Solved:
        catalogue = self._catalogue(task.exposed)
        frames = [_solved_frame(each) for each in task.exposed]
        stars = catalogue_stars(
            frames,
            catalogue.ra,
            catalogue.dec,
            radius=self._settings.match_radius_arcsec,
            edge=self._settings.edge_pixels,
            coverage=self._settings.min_coverage,
        )
        fwhm = _width(task.exposed)
        first = task.exposed[0]
        stamps = cut_observation(
            _mosaics(task.exposed, stars), first.camera.pattern_of(first.header), fwhm
        )
        noise = float(first.camera.look_up("read_noise", "R", first.header).value or 0.0)
        curves = stamps.light_curves(noise, _rules(self._settings))
        ra, dec, mag = (
            values[stars.rows] for values in (catalogue.ra, catalogue.dec, catalogue.mag)
        )
        return _Solved(stars, ra, dec, mag, stamps, curves)

    def _catalogue(self, exposed: Sequence[_Exposed]) -> ReferenceStars:
        """Stars over all that the observation saw, at its epoch."""
        solutions = [each.lead.wcs for each in exposed if each.lead.wcs is not None]
        ra, dec = (np.array([getattr(s, name) for s in solutions]) for name in ("ra", "dec"))
        away = float(np.max(angular_separation(ra[0], dec[0], ra, dec)))
        radius = away + max(solution.radius for solution in solutions)
        epoch = 2000.0 + (exposed[0].lead.image.mjd - 51544.5) / 365.25
        return self._catalog.cone(
            float(ra[0]), float(dec[0]), radius, epoch=epoch, faintest=self._settings.faintest
        )

    # --- saving ----------------------------------------------------------------------------

    def _write_stamps(self, task: _Task, solved: _Solved) -> ObservationFile:
        """Put the table into the store; its row is saved with the light curves."""
        names = [coordinate_name(*place) for place in zip(solved.ra, solved.dec, strict=True)]
        content = write_table(
            solved.stamps.columns(names),
            units=UNITS,
            descriptions=DESCRIPTIONS,
            metadata={"pattern": solved.stamps.pattern, "observation": str(task.observation)},
        )
        row = ObservationFile(
            observation_id=task.observation,
            role=ObservationFileRole.STAMPS.value,
            name="stamps.parquet",
            n_exposures=len(task.exposed),
        )
        row.made_by(self.lineage, {"inputs": task.inputs}, ObservationFileRole.STAMPS.value)
        row.key = build_key("stamps", task.observation.hex, f"{row.id.hex[:12]}.parquet")
        stored = self._store.put(row.key, content, overwrite=True)
        row.size, row.sha256 = stored.size, stored.sha256
        return row

    def _save_failure(self, task: _Task, fault: FirstlightError) -> None:
        """Leave a set without stars that says why there are none."""
        with self._database.begin() as session:
            if session.get(LightCurveSet, self._set_id(task, ALL_COLOURS)) is not None:
                return
            software = Software.record(session)
            Provenance.record(session, self.lineage)
            session.add(
                LightCurveSet(
                    id=self._set_id(task, ALL_COLOURS),
                    provenance_id=self.lineage.id,
                    software_id=software.id,
                    observation_id=task.observation,
                    section_id=ALL_COLOURS,
                    frame="none",
                    n_stars=0,
                    n_images=len(task.exposed),
                    summary={"error": fault.as_dict()},
                )
            )

    def _save(self, session: Session, task: _Task, solved: _Solved, file: ObservationFile) -> None:
        there = session.get(LightCurveSet, self._set_id(task, ALL_COLOURS))
        if there is not None and there.n_stars:
            return
        if there is not None:  # a failure, tried again
            session.delete(there)
            session.flush()
        software = Software.record(session)
        Provenance.record(session, self.lineage)
        if session.get(ObservationFile, file.id) is None:
            session.add(file)
        radius = self._settings.object_radius_arcsec / 3600.0
        exposure = task.exposed[0].lead.exposure
        objects = objects_at(
            session, solved.ra, solved.dec, radius=radius, origin=PROCESS, site=exposure.site
        )
        belongs = belonging(session, exposure) | {"provenance_id": self.lineage.id}
        bjd = _barycentric(task.exposed[0], solved)
        for number, section in enumerate((*BANDS, ALL_COLOURS)):
            ident = self._set_id(task, section)
            session.add(
                LightCurveSet(
                    id=ident,
                    provenance_id=self.lineage.id,
                    software_id=software.id,
                    observation_id=task.observation,
                    section_id=section,
                    frame="sky",
                    n_stars=len(objects),
                    n_images=len(task.exposed),
                    summary=_summary(solved, number),
                )
            )
            session.flush()
            bulk_insert(session, LightCurve, _curve_rows(ident, solved, number, objects))
            rows = _photometry_rows(ident, section, task.exposed, solved, (number, bjd, objects))
            bulk_insert(session, Photometry, [row | belongs for row in rows])
        summarise(session, objects)


def _exposed(colours: dict[str, ReducedFrame]) -> _Exposed | None:
    solved = [colours[c] for c in _PREFERRED if c in colours and colours[c].wcs is not None]
    return _Exposed(solved[0], colours) if solved else None


def _width(exposed: Sequence[_Exposed]) -> float:
    """FWHM of the stars in pixels of the mosaic.

    A pixel of a colour's image is two of the mosaic wide; where stars are not wider than that it
    is most of the width that is measured there. Its share was measured on simulated stars.
    """
    measured = [each.lead.sources.fwhm for each in exposed if each.lead.sources.fwhm]
    if not measured:
        return _NARROWEST
    own = 2 * np.sqrt(max(float(np.median(measured)) ** 2 - _PIXEL_SHARE, 0.0))
    return float(np.clip(own, _NARROWEST, _WIDEST))


def _solved_frame(each: _Exposed) -> SolvedFrame:
    lead, camera, header = each.lead, each.camera, each.header
    assert lead.wcs is not None  # noqa: S101, it leads because it is solved
    projection, section = lead.wcs.projection, lead.image.section_id

    def sky_to_pixel(ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        x, y = camera.mosaic_position(header, section, *projection.sky_to_pixel(ra, dec))
        return np.asarray(x, float), np.asarray(y, float)

    table = lead.sources.table
    x, y = camera.mosaic_position(header, section, table["x"], table["y"])
    lead.sources.free()
    shape = 2 * lead.image.ny, 2 * lead.image.nx
    return SolvedFrame(shape, lead.wcs.pixel_scale / 2, sky_to_pixel, np.asarray(x), np.asarray(y))


def _mosaics(exposed: Sequence[_Exposed], stars: CatalogueStars) -> Iterator[MosaicFrame]:
    """Raw mosaics in electrons, one after the other."""
    for number, each in enumerate(exposed):
        camera, header, exposure = each.camera, each.header, each.lead.exposure
        told = {
            prop: camera.look_up(prop, "R", header).value
            for prop in ("gain", "bias_level", "saturation_limit")
        }
        if told["bias_level"] is None or told["gain"] is None:
            raise UnknownBias(
                field="bias_level, gain",
                found=(told["bias_level"], told["gain"]),
                hint="set them for this instrument",
            )
        raw = camera.load_mosaic(exposure.get_fullpath(as_list=True))
        flags = _flags(each, raw.shape)
        if told["saturation_limit"] is not None:
            flags[raw >= told["saturation_limit"]] |= np.uint16(Flag.SATURATED)
        data = (raw.astype(np.float32) - np.float32(told["bias_level"])) * np.float32(told["gain"])
        yield MosaicFrame(
            name=exposure.name,
            mjd=each.lead.image.mjd,
            data=data,
            x=stars.x[:, number],
            y=stars.y[:, number],
            flags=flags,
        )


def _flags(each: _Exposed, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """What the reduced colours know of the mosaic's pixels."""
    flags = np.zeros(shape, np.uint16)
    pattern = each.camera.pattern_of(each.header)
    for place, letter in enumerate(pattern):
        frame = each.colours.get(letter)
        if frame is None:
            continue
        own = flags[place // 2 :: 2, place % 2 :: 2][: frame.image.ny, : frame.image.nx]
        own |= frame.image.flags & np.uint16(_TAKEN)
    for frame in each.colours.values():
        frame.image.free()
    return flags


def _barycentric(first: _Exposed, solved: _Solved) -> Floats:
    site = first.lead.exposure
    known = site.latitude is not None and site.longitude is not None
    return bjd_tdb(
        solved.stamps.mjd,
        solved.ra,
        solved.dec,
        latitude=site.latitude if known else None,
        longitude=site.longitude if known else None,
        elevation=site.elevation or 0.0,
    )


def _curve(solved: _Solved, number: int) -> tuple[Floats, Floats]:
    curves = solved.curves
    if number < len(BANDS):
        return curves.flux[:, number], curves.error[:, number]
    return curves.combined, curves.combined_error


def _summary(solved: _Solved, number: int) -> dict[str, Any]:
    scatter = solved.curves.scatter[:, number]
    best = np.sort(scatter[np.isfinite(scatter)])[:20]
    return {
        "method": "similar stamps",
        "stamp_side_pixels": solved.stamps.side,
        "stars_with_curves": int(np.isfinite(scatter).sum()),
        "blended": int(solved.curves.blended.sum()),
        "scatter_of_best_20": float(np.median(best)) if len(best) else None,
    }


def _curve_rows(
    ident: uuid.UUID, solved: _Solved, number: int, objects: list[uuid.UUID]
) -> list[dict[str, Any]]:
    curves = solved.curves
    flux, error = _curve(solved, number)
    numbers = light_curve_statistics(flux, error)
    candidates = find_variables(
        numbers,
        _brightness(solved, number),
        event_gain=event_gain(flux, error, solved.stamps.mjd),
    )
    return [
        {
            "set_id": ident,
            "number": n,
            "object_id": star,
            "x": float(np.nanmean(solved.stars.x[n])),
            "y": float(np.nanmean(solved.stars.y[n])),
            "n_points": int(numbers.points[n]),
            "mag": None,
            "scatter": finite_or_none(numbers.scatter[n]),
            "expected_scatter": finite_or_none(curves.expected[n, number]),
            "chi2": finite_or_none(numbers.reduced_chi2[n]),
            "is_candidate": bool(candidates.is_candidate[n] and not curves.blended[n]),
            "statistics": {
                "rms": finite_or_none(numbers.rms[n]),
                "von_neumann": finite_or_none(numbers.von_neumann[n]),
                "stetson_j": finite_or_none(numbers.stetson_j[n]),
                "peak_to_peak": finite_or_none(numbers.peak_to_peak[n]),
                "false_alarm": finite_or_none(candidates.false_alarm[n]),
                "misfit": finite_or_none(curves.misfit[n]),
                "blended": bool(curves.blended[n]),
                "catalogue_mag": finite_or_none(solved.mag[n]),
                "references": int((curves.references[n] >= 0).sum()),
                "duplicates": int(solved.stars.duplicate[n]),
                "detections": int((solved.stars.source[n] >= 0).sum()),
                "electrons": _told(curves.electrons[n], number),
                "aperture_pixels": _told(curves.aperture[n], number),
            },
        }
        for n, star in enumerate(objects)
    ]


def _brightness(solved: _Solved, number: int) -> Floats:
    """Instrumental magnitude of each star in one colour, or in all; NaN where not known."""
    light = solved.curves.electrons
    light = light[:, number] if number < len(BANDS) else light.sum(axis=1)
    return np.asarray(-2.5 * np.log10(np.where(light > 0, light, np.nan)))


def _photometry_rows(
    ident: uuid.UUID,
    section: str,
    exposed: Sequence[_Exposed],
    solved: _Solved,
    of: tuple[int, Floats, list[uuid.UUID]],
) -> list[dict[str, Any]]:
    number, bjd, objects = of
    flux, error = _curve(solved, number)
    rows = []
    for f, each in enumerate(exposed):
        image = each.colours.get(section, each.lead).image
        rows += [
            {
                "key": product_id(ident.hex, [n, f]),
                "object_id": objects[n],
                "image_id": image.id,
                "set_id": ident,
                "mjd": float(solved.stamps.mjd[f]),
                "bjd_tdb": float(bjd[n, f]),
                "filter": section,
                "flux_ujy": None,
                "flux_err_ujy": None,
                "mag": None,
                "mag_err": None,
                "mag_system": None,
                "rel_flux": finite_or_none(flux[n, f]),
                "rel_flux_err": finite_or_none(error[n, f]),
                "x": float(solved.stamps.x[n, f]),
                "y": float(solved.stamps.y[n, f]),
                "airmass": each.lead.exposure.airmass,
                "flags": int(solved.stamps.flags[n, f]),
            }
            for n in np.flatnonzero(np.isfinite(flux[:, f])).tolist()
        ]
    return rows


def _told(values: Floats, number: int) -> float | None:
    """That of one colour, or the sum of all."""
    return finite_or_none(values[number] if number < len(BANDS) else values.sum())


def _rules(settings: StampLightCurveSettings) -> ReferenceRules:
    return ReferenceRules(
        most=settings.most_references,
        fewest=settings.fewest_references,
        aperture_cutoff=settings.aperture_cutoff,
        fewest_frames=settings.min_exposures,
    )
