"""One exposure of a simulated survey: its light, what strikes it, and what its CCDs deliver."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from firstlight.simulation.detector import Frame, FrameKind
from firstlight.simulation.streams import Purpose, stream
from firstlight.simulation.survey_camera import Ccd
from firstlight.simulation.survey_nights import Visit
from firstlight.simulation.survey_settings import SurveySettings
from firstlight.simulation.survey_sky import SurveySky
from firstlight.simulation.transient_optics import PsfField
from firstlight.simulation.transient_pair import (
    _render,  # the same drawing of stars and of points of galaxies
)
from firstlight.simulation.transient_truth import cosmic_ray_charge

__all__ = ["Delivered", "Scene", "Trail", "cosmic_rays", "deliver", "make_scene"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_TRAIL_LIGHT = (400.0, 4000.0)  # electrons a pixel of length
_TRAIL_STEP = 0.5  # pixels
_TRACK = np.linspace(-0.4, 0.4, 5)  # of an exposure; where asteroids are drawn


@dataclass(frozen=True)
class Trail:
    """A satellite's trail through the focal plane.

    Attributes
    ----------
    x, y
        Pixels of the focal plane along it, ``(n,)``.
    light
        Calibrated electrons a pixel of length.
    """

    x: Floats
    y: Floats
    light: float


@dataclass(frozen=True)
class Scene:
    """What falls on the focal plane in one exposure.

    Attributes
    ----------
    light
        Calibrated electrons of all that is there in other exposures too, and of asteroids and
        satellites; float32 ``(ny, nx)``.
    new_light
        Of transients alone.
    sky
        Calibrated electrons, ``(ny, nx)``.
    psf
        The true one, over the focal plane.
    x, y, electrons
        Of the transients, pixels of the focal plane, ``(n,)``.
    moving_x, moving_y, moving_electrons
        Of the asteroids at mid-exposure, likewise.
    trail
        None in most exposures.
    """

    light: Plane
    new_light: Plane
    sky: Plane
    psf: PsfField
    x: Floats
    y: Floats
    electrons: Floats
    moving_x: Floats
    moving_y: Floats
    moving_electrons: Floats
    trail: Trail | None


@dataclass(frozen=True)
class Delivered:
    """One CCD of one exposure.

    Attributes
    ----------
    ccd
        Which.
    raw
        ADU, ``(ny, nx + 2 overscan)``.
    variance
        Electrons squared of calibrated pixels, without the photons of transients and of cosmic
        rays.
    cosmic_rays, cosmic_ray_pixels
        Hits, and pixels with at least ten electrons of them.
    saturated_pixels
        That hold as much as they can.
    """

    ccd: Ccd
    raw: NDArray[np.uint16]
    variance: Plane
    cosmic_rays: int
    cosmic_ray_pixels: int
    saturated_pixels: int


def make_scene(settings: SurveySettings, sky: SurveySky, visit: Visit) -> Scene:
    """All light of an exposure."""
    now = visit.conditions
    # Each exposure has its own shape; the first two are those of simulated pairs.
    psf = replace(
        PsfField.draw(settings.sky, 2 + visit.number), shape=settings.plane, fwhm=now.fwhm
    )
    x, y = visit.projection.sky_to_pixel(sky.ra, sky.dec)
    flux = sky.electrons(visit, settings.sky.zero_point)
    light = _render((x, y, flux), psf, len(sky.fixed.stars))
    moving = _moving(settings, sky, visit)
    track = [np.concatenate(list(each)) for each in zip(*moving, strict=True)]
    light += _render((track[0], track[1], track[2] / len(_TRACK)), psf, len(track[0]))
    trail = _trail(settings, visit)
    if trail is not None:
        points = np.full(len(trail.x), trail.light * _TRAIL_STEP)
        light += _render((trail.x, trail.y, points), psf, 0)
    new = sky.transients
    new_x, new_y = visit.projection.sky_to_pixel(new.ra, new.dec)
    electrons = 10 ** (0.4 * (visit.zero_point - new.mag)) * new.brightness(now.mid_mjd)
    middle = moving[len(_TRACK) // 2]
    return Scene(
        light=light,
        new_light=_render((new_x, new_y, electrons), psf, len(new)),
        sky=_sky(settings, visit),
        psf=psf,
        x=new_x,
        y=new_y,
        electrons=electrons,
        moving_x=middle[0],
        moving_y=middle[1],
        moving_electrons=middle[2],
        trail=trail,
    )


def deliver(
    settings: SurveySettings, scene: Scene, visit: Visit, camera: tuple[Ccd, ...]
) -> Iterator[Delivered]:
    """Expose and read out each CCD."""
    for ccd in camera:
        seen = scene.light[ccd.window] + scene.sky[ccd.window]
        hits, charge = cosmic_rays(settings, visit, ccd)
        collected = (seen + scene.new_light[ccd.window]) * ccd.response + charge
        raw, held = ccd.read_out(collected, Frame(FrameKind.SCIENCE, visit.number))
        yield Delivered(
            ccd=ccd,
            raw=raw,
            variance=(seen * ccd.response + ccd.read_variance) / ccd.response**2,
            cosmic_rays=hits,
            cosmic_ray_pixels=int((charge >= 10.0).sum()),
            saturated_pixels=int((held >= ccd.full_well).sum()),
        )


def cosmic_rays(settings: SurveySettings, visit: Visit, ccd: Ccd) -> tuple[int, Plane]:
    """How many strike a CCD in an exposure, and the electrons that they leave, ``(ny, nx)``."""
    ny, nx = ccd.shape
    place = visit.number, ccd.number
    random = stream(settings.seed, Purpose.COSMIC_RAYS, 1001, *place)
    hits = int(random.poisson(settings.cosmic_rays * ny * nx / 1e6))
    struck = settings.sky.model_copy(
        update={
            "seed": settings.seed_of(Purpose.COSMIC_RAYS, *place),
            "rows": ny,
            "columns": nx,
            "cosmic_rays": hits,
        }
    )
    return hits, cosmic_ray_charge(struck)


def _sky(settings: SurveySettings, visit: Visit) -> Plane:
    now = visit.conditions
    ny, nx = settings.plane
    corner = float(np.hypot(nx, ny)) / 2
    u, v = (np.arange(nx) - (nx - 1) / 2) / corner, (np.arange(ny) - (ny - 1) / 2) / corner
    slope = 1 + now.gradient[0] * u[None, :] + now.gradient[1] * v[:, None]
    return (now.sky * slope).astype(np.float32)


def _moving(
    settings: SurveySettings, sky: SurveySky, visit: Visit
) -> list[tuple[Floats, Floats, Floats]]:
    """Pixels and electrons of the asteroids at some moments of the exposure."""
    flux = 10 ** (0.4 * (visit.zero_point - sky.moving.mag))
    moments = []
    for part in _TRACK:
        mjd = visit.conditions.mid_mjd + part * settings.exposure_time / 86400
        x, y = visit.projection.sky_to_pixel(*sky.moving.at(mjd))
        moments.append((x, y, flux))
    return moments


def _trail(settings: SurveySettings, visit: Visit) -> Trail | None:
    random = stream(settings.seed, Purpose.TRANSIENTS, 1003, visit.number)
    if random.uniform() >= settings.trail_chance:
        return None
    ny, nx = settings.plane
    x, y = random.uniform(0.1, 0.9, 2) * (nx, ny)
    angle = random.uniform(0, np.pi)
    light = float(np.exp(random.uniform(*np.log(_TRAIL_LIGHT))))
    along = np.arange(-np.hypot(nx, ny), np.hypot(nx, ny), _TRAIL_STEP)
    tx, ty = x + along * np.cos(angle), y + along * np.sin(angle)
    near = (tx > -50) & (tx < nx + 50) & (ty > -50) & (ty < ny + 50)
    return Trail(tx[near], ty[near], light)
