"""Which piece of the sky a frame shows, from its stars alone.

Quads of the frame's stars are looked up by shape, in a table of the whole sky (blind) or one
made on the spot of the stars round a pointing (hinted). Each proposal that other stars support
is fitted over the whole frame, and accepted only if the odds against a chance coincidence pass
a threshold; else the answer is `NotSolved`, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.plate.astrometry import (
    AstrometricFit,
    refine_distortion,
    refine_projection,
)
from firstlight.algorithms.plate.match_odds import isolated, local_density, log_odds, stars_needed
from firstlight.algorithms.plate.quad_search import Frame, FrameQuads, search
from firstlight.algorithms.plate.quads import (
    QuadTable,
    build_quad_table,
    dominance,
    neighbour_quads,
    plane_codes,
)
from firstlight.algorithms.sky.projection import Projection, tangent_plane
from firstlight.algorithms.sky.sky_index import angular_separation, sky_position, unit_vectors

__all__ = [
    "NotSolved",
    "PlateSolution",
    "Prior",
    "SolveOptions",
    "StarsNear",
    "plate_solve",
    "solve_blindly",
    "stars_from_arrays",
    "verify_projection",
]

Floats = NDArray[np.float64]
Stars = tuple[Floats, Floats, Floats]
StarsNear = Callable[[float, float, float], Stars]
"""Right ascension, declination and magnitude of the stars in a cone (centre, radius; degrees)."""

FIELD_LOW, FIELD_HIGH = 0.3, 20.0
"""Widths of frames, degrees, where the scale is not known."""

# Stars of the frame taken, and quads begun at each: nearly all there are while stars are few.
_SWEEP = ((10, 84), (16, 165), (25, 84), (40, 35), (60, 35), (100, 35), (150, 35))
_FEWEST = 5
_REFINED_PER_SWEEP = 8
_LOCAL_STARS = 20_000
_COUNTED = 4000
"""Stars from which the area of a catalogue is reckoned."""


@dataclass(frozen=True)
class Prior:
    """What is known before the solution.

    Attributes
    ----------
    ra, dec
        Pointing, ICRS degrees; None for a blind search.
    radius
        How far from it the middle of the frame can be, degrees.
    scale_low, scale_high
        Limits on the pixel scale, arcseconds per pixel; None for frames from 0.3 to 20 degrees.
    parity
        1 for the sky as seen, -1 for mirrored, 0 for unknown.
    """

    ra: float | None = None
    dec: float | None = None
    radius: float = 2.0
    scale_low: float | None = None
    scale_high: float | None = None
    parity: int = 0


@dataclass(frozen=True)
class SolveOptions:
    """How hard to try and how sure to be.

    Attributes
    ----------
    min_log_odds
        Natural log of the odds that a solution must reach; 16 is ten million to one.
    max_order
        Highest order of SIP distortion.
    noise
        Expected error of a detection's position, pixels.
    distortion
        Expected distortion, as a fraction of lengths, that a first match must bear.
    """

    min_log_odds: float = 16.0
    max_order: int = 5
    noise: float = 0.5
    distortion: float = 0.006


@dataclass(frozen=True, eq=False)
class PlateSolution:
    """Where the frame is.

    Attributes
    ----------
    projection
        Pixels to sky and back; `Projection.to_header` gives FITS cards.
    detected
        Indices of the matched detections in the input, shape ``(n,)``.
    star_ra, star_dec, star_mag
        The catalogue stars they are matched to, shape ``(n,)``.
    rms
        Root mean square distance of the pairs, pixels.
    log_odds
        Natural log of the odds against a chance coincidence.
    n_expected
        Catalogue stars in the frame that were sought.
    n_tried
        Proposals tested.
    how
        ``"hinted"``, ``"blind"`` or ``"given"``.
    """

    projection: Projection
    detected: NDArray[np.intp]
    star_ra: Floats
    star_dec: Floats
    star_mag: Floats
    rms: float
    log_odds: float
    n_expected: int
    n_tried: int
    how: str

    @property
    def n_matched(self) -> int:
        """Number of pairs."""
        return len(self.detected)

    @property
    def rms_arcsec(self) -> float:
        """`rms` on the sky, arcseconds."""
        return self.rms * self.projection.pixel_scale


@dataclass(frozen=True)
class NotSolved:
    """No place was found that passes, and why.

    Attributes
    ----------
    reason
        For people.
    code
        For programs: ``few_detections``, ``catalogue_too_shallow``, ``no_index``, ``no_match``.
    n_tried
        Proposals tested.
    best_log_odds
        The best of the rejected ones; minus infinity where none came that far.
    """

    reason: str
    code: str
    n_tried: int = 0
    best_log_odds: float = -np.inf


@dataclass(frozen=True, eq=False)
class _Field:
    """Detections of one frame, brightest first, near neighbours left out."""

    x: Floats
    y: Floats
    source: NDArray[np.intp]
    shape: tuple[int, int]
    spread: NDArray[np.intp]
    """The order in which stars cover the frame: by falling dominance."""

    @property
    def middle(self) -> tuple[float, float]:
        return (self.shape[1] - 1) / 2.0, (self.shape[0] - 1) / 2.0

    @property
    def half_diagonal(self) -> float:
        return float(np.hypot(*self.shape)) / 2.0

    @property
    def area(self) -> float:
        return float(self.shape[0] * self.shape[1])


def plate_solve(
    x: ArrayLike,
    y: ArrayLike,
    flux: ArrayLike,
    shape: tuple[int, int],
    stars_near: StarsNear,
    *,
    prior: Prior | None = None,
    index: QuadTable | None = None,
    options: SolveOptions | None = None,
) -> PlateSolution | NotSolved:
    """Find where a frame is.

    Parameters
    ----------
    x, y, flux
        Detections: 0-based pixels and any measure that grows with brightness, shape ``(n,)``.
        Those that are not finite are left out.
    shape
        ``(ny, nx)`` of the frame.
    stars_near
        The reference stars.
    prior
        What is known. With a pointing, stars round it are tried first.
    index
        Quads of the whole sky, for the blind search; without it only a pointing can help.
    options
        How hard to try and how sure to be.

    Returns
    -------
    `PlateSolution`, or `NotSolved` where no place passes the odds.
    """
    prior, options = prior or Prior(), options or SolveOptions()
    field = _prepare(x, y, flux, shape)
    if len(field.x) < _FEWEST:
        found = len(field.x)
        reason = f"only {found} separate detections in the frame, at least {_FEWEST} needed"
        return NotSolved(reason, "few_detections")
    if prior.ra is None or prior.dec is None:
        if index is None:
            return NotSolved("no pointing is known and there is no index of the sky", "no_index")
        return _search(field, index, stars_near, prior, options, "blind")
    table, near = _local_table(field, (prior.ra, prior.dec), prior, stars_near)
    answer: PlateSolution | NotSolved = (
        _search(field, table, near, prior, options, "hinted")
        if table is not None
        else NotSolved("the catalogue has no stars round the pointing", "catalogue_too_shallow")
    )
    if isinstance(answer, NotSolved) and index is not None:
        blind = _search(field, index, stars_near, prior, options, "blind")
        answer = blind if isinstance(blind, PlateSolution) else _merged(answer, blind)
    if isinstance(answer, NotSolved):
        return _explained(answer, field, prior, options, near)
    return answer


def solve_blindly(
    first: NotSolved,
    x: ArrayLike,
    y: ArrayLike,
    flux: ArrayLike,
    shape: tuple[int, int],
    stars_near: StarsNear,
    *,
    scale: tuple[float | None, float | None],
    index: QuadTable,
) -> PlateSolution | NotSolved:
    """Search the whole sky where `first` came of what was known; `scale` is the prior's.

    Where that fails, too, what a search by a known pointing said is the better reason.
    """
    prior = Prior(scale_low=scale[0], scale_high=scale[1])
    again = plate_solve(x, y, flux, shape, stars_near, prior=prior, index=index)
    return first if isinstance(again, NotSolved) and first.code != "no_index" else again


def verify_projection(
    x: ArrayLike,
    y: ArrayLike,
    flux: ArrayLike,
    shape: tuple[int, int],
    stars_near: StarsNear,
    *,
    projection: Projection,
    options: SolveOptions | None = None,
) -> PlateSolution | NotSolved:
    """Fit and judge a projection that came from elsewhere, by the same odds.

    Parameters
    ----------
    projection
        Good to about one hundredth of the frame.

    Other parameters and what is returned are those of `plate_solve`.
    """
    options = options or SolveOptions()
    field = _prepare(x, y, flux, shape)
    if len(field.x) < _FEWEST:
        return NotSolved(f"only {len(field.x)} detections in the frame", "few_detections")
    odds, solution = _judge(field, projection, stars_near, options, 1, "given")
    if solution is not None and odds >= options.min_log_odds:
        return solution
    return NotSolved("the stars do not agree with the projection", "no_match", 1, odds)


def stars_from_arrays(ra: ArrayLike, dec: ArrayLike, mag: ArrayLike) -> StarsNear:
    """Cones cut from arrays of stars (degrees, magnitudes; shape ``(n,)``), brightest first."""
    order = np.argsort(np.asarray(mag, float), kind="stable")
    stars = tuple(np.asarray(a, float)[order] for a in (ra, dec, mag))

    def near(ra0: float, dec0: float, radius: float) -> Stars:
        within = angular_separation(ra0, dec0, stars[0], stars[1]) <= radius
        return stars[0][within], stars[1][within], stars[2][within]

    return near


def _prepare(x: ArrayLike, y: ArrayLike, flux: ArrayLike, shape: tuple[int, int]) -> _Field:
    px, py, light = (np.asarray(a, np.float64) for a in (x, y, flux))
    usable = np.flatnonzero(np.isfinite(px) & np.isfinite(py) & np.isfinite(light))
    order = usable[np.argsort(-light[usable], kind="stable")]
    # Fragments of one bright star or trail must not count as several agreeing stars.
    order = order[isolated(px[order], py[order], _apart(shape))]
    px, py = px[order], py[order]
    spread = np.argsort(-dominance(np.column_stack([px, py])), kind="stable")
    return _Field(px, py, order, shape, spread)


def _apart(shape: tuple[int, int]) -> float:
    """Pixels within which two detections may be pieces of one thing."""
    return float(np.clip(0.004 * max(shape), 3.0, 12.0))


def _scales(field: _Field, prior: Prior) -> tuple[float, float]:
    """Limits on the scale, arcseconds per pixel."""
    width = max(field.shape)
    low, high = prior.scale_low, prior.scale_high
    return (
        FIELD_LOW * 3600.0 / width if low is None else low,
        FIELD_HIGH * 3600.0 / width if high is None else high,
    )


def _local_table(
    field: _Field, pointing: tuple[float, float], prior: Prior, stars_near: StarsNear
) -> tuple[QuadTable | None, StarsNear]:
    """Table of the stars that can be in the frame, and cones cut from them."""
    reach = np.degrees(np.arctan(np.radians(_scales(field, prior)[1] / 3600 * field.half_diagonal)))
    radius = min(prior.radius + 1.1 * float(reach), 180.0)
    ra, dec, mag = stars_near(*pointing, radius)
    near = stars_from_arrays(ra, dec, mag)
    if len(ra) < _FEWEST:
        return None, near
    bright = np.argsort(mag, kind="stable")
    area = _covered(ra[bright], dec[bright], radius)
    # Stars much fainter than the frame's own only make the table large.
    smallest = field.area * (_scales(field, prior)[0] / 3600.0) ** 2
    stars_per_frame = 3.0 * min(len(field.x), _SWEEP[-1][0])
    enough = int(min(_LOCAL_STARS, max(400.0, stars_per_frame * area / smallest)))
    bright = bright[:enough]
    triples = (20,) if len(bright) < 1000 else (4, 4, 10)
    table = build_quad_table(ra[bright], dec[bright], mag[bright], area=area, triples=triples)
    return (table if len(table.members) else None), near


def _covered(ra: Floats, dec: Floats, radius: float) -> float:
    """Square degrees of a cone that have stars, which are sorted by brightness.

    A catalogue may end within the cone. Each star stands for a fifth of the circle that reaches
    to its fifth neighbour, in crowded parts as in sparse ones.
    """
    cone = float(2.0 * np.pi * (1.0 - np.cos(np.radians(radius))))
    vectors = unit_vectors(ra[:_COUNTED], dec[:_COUNTED])
    near = min(5, len(vectors) - 1)
    reach = cKDTree(vectors).query(vectors, k=near + 1)[0][:, -1]
    covered = float(np.sum(np.pi * reach**2 / near))
    return float(min(cone, covered) * np.degrees(1.0) ** 2)


def _search(
    field: _Field,
    table: QuadTable,
    stars_near: StarsNear,
    prior: Prior,
    options: SolveOptions,
    how: str,
) -> PlateSolution | NotSolved:
    """Sweep from few stars to many; the first proposal that passes is the answer."""
    tried, best = 0, -np.inf
    done: set[tuple[int, ...]] = set()
    for quads, frame in _sweeps(field, prior, options):
        scores, found, tested = search(table, frame, quads, 4 * _REFINED_PER_SWEEP)
        tried += int(tested)
        for pick in np.argsort(-scores, kind="stable")[:_REFINED_PER_SWEEP]:
            quad, row, flip = (int(k) for k in found[pick])
            start = _similarity(field, quads.members[quad], table, row, flip)
            if scores[pick] <= 3.0 or _seen_before(start, field, done):
                continue
            odds, solution = _judge(field, start, stars_near, options, tried, how)
            best = max(best, odds)
            if solution is not None and odds >= options.min_log_odds:
                return solution
    return NotSolved(
        f"none of {tried} proposals is supported by the other stars", "no_match", tried, best
    )


def _sweeps(
    field: _Field, prior: Prior, options: SolveOptions
) -> Iterator[tuple[FrameQuads, Frame]]:
    """Quads among ever more stars, with the frame they are tested on."""
    most = field.spread[: _SWEEP[-1][0]]
    x, y = field.x[most] - field.middle[0], field.y[most] - field.middle[1]
    low, high = np.radians(np.array(_scales(field, prior)) / 3600.0)
    frame = Frame(
        x=x,
        y=y,
        half_x=field.shape[1] / 2.0,
        half_y=field.shape[0] / 2.0,
        scale_low=float(low),
        scale_high=float(high),
        parity=prior.parity,
        noise=options.noise,
        distortion=options.distortion,
    )
    for count, triples in _SWEEP:
        chosen = np.column_stack([x, y])[:count]
        members = neighbour_quads(chosen, triples)
        if len(members):
            members = np.unique(np.sort(members, axis=1), axis=0)
            # East is left on the sky as seen: with x negated, turns are the sky's.
            yield FrameQuads(*plane_codes(-x, y, members.astype(np.uint32))), frame
        if count >= len(x):
            return


def _similarity(
    field: _Field, members: NDArray[np.uint32], table: QuadTable, row: int, flip: int
) -> Projection:
    """The similarity that four pairs propose, with its tangent point in the middle."""
    who = field.spread[members]
    x, y = field.x[who] - field.middle[0], field.y[who] - field.middle[1]
    ra, dec = sky_position(table.vectors[table.members[row]].astype(np.float64))
    w = -flip * x + 1j * y
    crval = float(ra[0]), float(dec[0])
    for _ in range(4):
        xi, eta = tangent_plane(ra, dec, *crval)
        plane = xi + 1j * eta
        turn = np.vdot(w - w.mean(), plane - plane.mean()) / np.sum(np.abs(w - w.mean()) ** 2)
        s, t = float(turn.real), float(turn.imag)
        projection = Projection(crval, field.middle, np.array([[-flip * s, -t], [-flip * t, s]]))
        middle = plane.mean() - turn * w.mean()
        at = projection.plane_to_pixel(middle.real, middle.imag)
        lon, lat = projection.pixel_to_sky(*at)
        crval = float(lon), float(lat)
    return replace(projection, crval=crval)


def _seen_before(start: Projection, field: _Field, done: set[tuple[int, ...]]) -> bool:
    """Whether a proposal like this was judged already; remembers it."""
    step = 0.02 * field.half_diagonal * start.pixel_scale / 3600.0
    key = (
        round(start.crval[0] * np.cos(np.radians(start.crval[1])) / step),
        round(start.crval[1] / step),
        round(np.log(start.pixel_scale) / 0.02),
        round(start.rotation / 3.0),
        start.parity,
    )
    if key in done:
        return True
    done.add(key)
    return False


def _judge(
    field: _Field,
    start: Projection,
    stars_near: StarsNear,
    options: SolveOptions,
    tried: int,
    how: str,
) -> tuple[float, PlateSolution | None]:
    """Fit a proposal over the whole frame and weigh it."""
    reach = 1.1 * field.half_diagonal * start.pixel_scale / 3600.0
    ra0, dec0 = start.pixel_to_sky(*field.middle)
    stars = stars_near(float(ra0), float(dec0), min(float(reach), 180.0))
    stars, used = _matched_depth(field, start, stars)
    if len(stars[0]) < _FEWEST:
        return -np.inf, None
    detections, places = (field.x[:used], field.y[:used]), stars[:2]
    # As wide as distortion needs, but not so wide that most would find a neighbour by chance.
    crowded = float(np.sqrt(0.3 * field.area / (np.pi * used)))
    radius = max(3.0, min(0.01 * field.half_diagonal, crowded))
    fit = refine_projection(detections, places, field.shape, start, radius=radius)
    if fit is None or not _square(fit.projection):
        return -np.inf, None
    odds, expected = _weigh(field, fit, stars, used, options, tried)
    if odds < options.min_log_odds:
        return odds, None
    finer = refine_distortion(
        detections, places, field.shape, fit, radius=radius, max_order=options.max_order
    )
    if finer.projection.order > 1:
        finer_odds, finer_expected = _weigh(field, finer, stars, used, options, tried)
        if finer_odds >= options.min_log_odds:
            fit, odds, expected = finer, finer_odds, finer_expected
    return odds, PlateSolution(
        projection=fit.projection.with_inverse(field.shape),
        detected=field.source[fit.detected],
        star_ra=stars[0][fit.reference],
        star_dec=stars[1][fit.reference],
        star_mag=stars[2][fit.reference],
        rms=fit.rms,
        log_odds=odds,
        n_expected=expected,
        n_tried=tried,
        how=how,
    )


def _matched_depth(field: _Field, start: Projection, stars: Stars) -> tuple[Stars, int]:
    """Stars and detections cut to comparable depth: the brightest of each.

    Detections go at least as deep as the catalogue, since stars are missed for many reasons.
    """
    order = np.argsort(stars[2], kind="stable")
    ra, dec, mag = (column[order] for column in stars)
    x, y = start.sky_to_pixel(ra, dec)
    with np.errstate(invalid="ignore"):
        inside = (x > 0) & (x < field.shape[1]) & (y > 0) & (y < field.shape[0])
    count = np.cumsum(inside)
    deep = int(np.searchsorted(count, max(2 * len(field.x), 30), side="right"))
    expected = int(count[deep - 1]) if deep else 0
    used = min(len(field.x), 4 * expected + 60)
    return (ra[:deep], dec[:deep], mag[:deep]), used


def _square(projection: Projection) -> bool:
    """Whether pixels are square to a tenth, as a match of shapes presumes."""
    spread = np.linalg.svd(projection.cd, compute_uv=False)
    return bool(spread[0] < 1.1 * spread[1])


def _weigh(
    field: _Field,
    fit: AstrometricFit,
    stars: Stars,
    used: int,
    options: SolveOptions,
    tried: int,
) -> tuple[float, int]:
    """Log odds of a fit, and how many stars were sought."""
    x, y = fit.projection.sky_to_pixel(stars[0], stars[1])
    with np.errstate(invalid="ignore"):
        inside = (x > 0) & (x < field.shape[1] - 1) & (y > 0) & (y < field.shape[0] - 1)
    sought = np.flatnonzero(inside)
    noise = max(fit.noise, options.noise)
    sought = sought[isolated(x[sought], y[sought], max(8.0 * noise, _apart(field.shape)))]
    distance = np.full(len(x), np.nan)
    distance[fit.reference] = np.hypot(fit.residual_x, fit.residual_y)
    density = local_density(field.x[:used], field.y[:used], x[sought], y[sought], field.area)
    odds = log_odds(
        distance[sought], density, noise, parameters=fit.parameters, trials=float(tried)
    )
    return odds, len(sought)


def _merged(hinted: NotSolved, blind: NotSolved) -> NotSolved:
    best = max(hinted.best_log_odds, blind.best_log_odds)
    return replace(blind, n_tried=hinted.n_tried + blind.n_tried, best_log_odds=best)


def _explained(
    answer: NotSolved,
    field: _Field,
    prior: Prior,
    options: SolveOptions,
    near: StarsNear,
) -> NotSolved:
    """The same with the reason that applies, where the catalogue is too shallow for the field."""
    if prior.ra is None or prior.dec is None or prior.scale_high is None:
        return answer
    scale = prior.scale_high / 3600.0
    radius = field.half_diagonal * scale
    stars = near(prior.ra, prior.dec, radius)[0]
    share = field.area * scale**2 / (np.pi * radius**2)
    count = round(len(stars) * share)
    needed = stars_needed(len(field.x), field.area, options.noise, options.min_log_odds)
    if count >= needed:
        return answer
    reason = f"only {count} catalogue stars in the field, about {needed} needed"
    return replace(answer, reason=reason, code="catalogue_too_shallow")
