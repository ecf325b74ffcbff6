"""Every correction on simulated raw sections of two amplifiers, against the electrons put in."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from astropy.io.fits import Header
from in_memory import MJD, make_image

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.instruments import get_instrument_instance, load_cameras
from firstlight.models.data_root import configure_data_roots, data_root
from firstlight.models.exposure import Exposure
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import Calibrations, StepImpossible, Workpiece
from firstlight.pipeline.steps.preprocess import Preprocess

NY, HALF, STRIP = 256, 128, 16
NX = 2 * HALF
GAINS = {"A": 3.2, "B": 4.9}
NOISE = {"A": 6.0, "B": 11.0}
LEVELS = {"A": 1650.0, "B": 2320.0}
FULL = {"A": 40_000.0, "B": 36_000.0}
CURVE = 2e-6  # of the counts that are lost, per count
TALK = {("one", "A"): [("one", "B", 8e-4), ("two", "A", -5e-4)], ("one", "B"): [("one", "A", 6e-4)]}
SKY = 900.0

CAMERA = f"""
sections = [{{ id = "one", layout = "n" }}, {{ id = "two", layout = "s" }},
            {{ id = "three", layout = "n", defective = true }}]
[camera]
name = "Pair"
telescope = "Simulated"
pixel_scale = 0.3
fringes_in = ["z"]
[crosstalk]
file = "pair.crosstalk"
[linearity]
file = "pair.csv"
[[layouts.n]]
name = "A"
overscan = "[1:{STRIP},1:{NY}]"
data = "[{STRIP + 1}:{STRIP + HALF},1:{NY}]"
place = "[1:{HALF},1:{NY}]"
[[layouts.n]]
name = "B"
data = "[{STRIP + HALF + 1}:{STRIP + NX},1:{NY}]"
overscan = "[{STRIP + NX + 1}:{2 * STRIP + NX},1:{NY}]"
place = "[{HALF + 1}:{NX},1:{NY}]"
read_from = "bottom right"
[[layouts.s]]
name = "A"
data = "[{STRIP + HALF + 1}:{STRIP + NX},1:{NY}]"
overscan = "[{STRIP + NX + 1}:{2 * STRIP + NX},1:{NY}]"
place = "[{HALF + 1}:{NX},1:{NY}]"
read_from = "top right"
[[layouts.s]]
name = "B"
overscan = "[1:{STRIP},1:{NY}]"
data = "[{STRIP + 1}:{STRIP + HALF},1:{NY}]"
place = "[1:{HALF},1:{NY}]"
read_from = "top left"
"""


@pytest.fixture(scope="module", autouse=True)
def camera_folder(tmp_path_factory):
    """The camera and its tables; `pair.csv` ends below the brightest counts."""
    folder = tmp_path_factory.mktemp("cameras")
    (folder / "pair.toml").write_text(CAMERA)
    lines = [f"{v[0]}{v[1]} {s}{a} {c}" for v, terms in TALK.items() for s, a, c in terms]
    (folder / "pair.crosstalk").write_text("\n".join(lines))
    linear = np.linspace(0, 30_000, 1001)
    rows = [f"{s},{a},{c},{x}" for s in ("one", "two") for a in "AB"
            for c, x in zip(as_read(linear), linear, strict=True)]  # fmt: skip
    (folder / "pair.csv").write_text("\n".join(["section,amplifier,counts,linear", *rows]))
    load_cameras(folder)
    yield folder
    load_cameras(folder / "nothing")


def as_read(linear):
    """Counts of an amplifier that loses some of what is bright."""
    return linear * (1 - CURVE * linear)


def columns(section, amplifier):
    """First column of an amplifier's pixels and of its overscan, and its flips to read order."""
    left = (section != "two") == (amplifier == "A")
    data, strip = (STRIP, 0) if left else (STRIP + HALF, STRIP + NX)
    return data, strip, (slice(None, None, -1 if section == "two" else 1),
                         slice(None, None, 1 if left else -1))  # fmt: skip


class Sky:
    """What shines on the two sections, and the patterns of the detector."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        y, x = np.mgrid[:NY, :NX]
        self.flat = 1 + 0.02 * self.random.normal(size=(NY, NX))
        self.illumination = 1.05 - 0.1 * ((x - 128) ** 2 + (y - 128) ** 2) / 128**2 / 2
        self.fringe = np.sin(np.hypot(x + 60, y - 300) / 5.0)
        self.bias = self.random.normal(0, 2, (NY, NX))
        self.light = {name: np.full((NY, NX), SKY) for name in ("one", "two")}
        for name, stars in (("one", 6), ("two", 25)):
            for i, j in self.random.integers(20, 236, (stars, 2)):
                self.light[name] += 40_000 * np.exp(-((x - i) ** 2 + (y - j) ** 2) / 8.0)

    def collected(self, section):
        """Electrons expected in each pixel."""
        light = self.light[section] * self.flat * self.illumination
        return light + 40.0 * self.fringe * self.flat * self.illumination

    def expose(self, *, extra=None, filter_="z"):
        """A raw exposure; `extra` electrons come on top of those of section one."""
        charge = {name: self.random.poisson(self.collected(name)) for name in self.light}
        if extra is not None:
            charge["one"] = charge["one"] + extra
        counts = {}
        for section, plane in charge.items():
            for amplifier, gain in GAINS.items():
                half = plane[:, slice(0, HALF) if columns(section, amplifier)[0] == STRIP
                             else slice(HALF, NX)]  # fmt: skip
                counts[section, amplifier] = as_read(half / gain)
        exposure = Exposure(
            nofile=True, filename=f"{uuid.uuid4().hex}.fits", instrument="Pair",
            telescope="Simulated", kind="science", mjd=MJD, exp_time=30.0, filter=filter_,
        )  # fmt: skip
        exposure.raw_header = Header()
        for section in charge:
            exposure.section_headers[section] = Header(
                {f"{word}{a}": value for a in "AB" for word, value in
                 (("GAIN", GAINS[a]), ("RDNOISE", NOISE[a]), ("SATURAT", FULL[a]))}
            )  # fmt: skip
            exposure.data[section] = self._raw(section, counts)
        return exposure

    def _raw(self, section, counts):
        raw = np.zeros((NY, NX + 2 * STRIP))
        drift = np.cumsum(self.random.normal(0, 0.3, (NY, 1)), axis=0)
        for amplifier, gain in GAINS.items():
            data, strip, turn = columns(section, amplifier)
            seen = counts[section, amplifier].copy()
            for other, source, coefficient in TALK.get((section, amplifier), []):
                seen[turn] += coefficient * counts[other, source][columns(other, source)[2]]
            raw[:, data : data + HALF] = seen + self.bias[:, data - STRIP : data - STRIP + HALF]
            for start, width in ((data, HALF), (strip, STRIP)):
                part = raw[:, start : start + width]
                part += LEVELS[amplifier] + drift
                part += self.random.normal(0, NOISE[amplifier] / gain, part.shape)
        return np.rint(raw).clip(0, 65535).astype(np.uint16)

    def masters(self):
        tiny = np.full((NY, NX), 1e-12)
        planes = {
            "bias": self.bias, "flat": self.flat, "illumination": self.illumination,
            "fringe": self.fringe,
        }  # fmt: skip
        return {role: make_image(plane, tiny) for role, plane in planes.items()}


def reduced(exposure, masters, section="one", **settings):
    piece = Workpiece(exposure, section, Calibrations(masters, dict.fromkeys(masters, "given")))
    return Preprocess(PreprocessSettings(**settings)).run(piece), piece


def halves(plane):
    return {"A": plane[:, :HALF], "B": plane[:, HALF:]}


def test_electrons_of_each_amplifier_come_back_with_honest_errors():
    sky = Sky(1)
    pulls = {"A": [], "B": []}
    for _ in range(4):
        image, _ = reduced(sky.expose(), sky.masters(), cosmic_rays=False)
        for name, part in halves((image.data - sky.light["one"]) * np.sqrt(image.weight)).items():
            used = halves((image.flags & UNUSABLE) == 0)[name]
            pulls[name].append(part[used])
    for name, each in pulls.items():
        together = np.concatenate(each)
        assert np.std(together) == pytest.approx(1.0, abs=0.015), name
        assert abs(np.mean(together)) < 0.025, name
    told = image.calibration
    assert told["crosstalk"] == {"done": True, "why": "3 coefficients"}
    assert told["linearity"]["done"]
    assert told["illumination"]["done"]
    assert told["gain"]["amplifiers"] == GAINS
    assert told["fringe"]["scale"] == pytest.approx(40.0, abs=4 * told["fringe"]["error"])
    assert told["bleed"] == {"done": True, "why": "no pixel is saturated", "pixels": 0}
    assert (image.gain, image.saturation) == (pytest.approx(4.05), 36_000.0)


@pytest.mark.parametrize(
    ("switched", "least"),
    [("linearity", 4.0), ("fringe", 0.3), ("illumination", 0.3)],
)
def test_each_correction_is_needed_and_told_when_it_is_off(switched, least):
    sky = Sky(2)
    exposure, masters = sky.expose(), sky.masters()
    image, piece = reduced(exposure, masters, cosmic_rays=False)
    less, other = reduced(exposure, masters, cosmic_rays=False, **{switched: False})
    pull = (image.data - less.data) * np.sqrt(image.weight)
    assert np.abs(pull).max() > least
    assert less.calibration[switched] == {"done": False, "why": "switched off"}
    assert other.notes[switched] == "switched off"
    assert switched not in piece.notes


def test_a_ghost_from_another_section_is_where_it_was_read_at_the_same_time():
    sky = Sky(2)
    sky.light["two"][100:140, 160:200] = 110_000.0  # of A, read from the top right
    exposure, masters = sky.expose(), sky.masters()
    image, _ = reduced(exposure, masters, cosmic_rays=False)
    less, _ = reduced(exposure, masters, cosmic_rays=False, crosstalk=False)
    taken = less.data - image.data  # of A of section one, read from the bottom left
    wanted = -5e-4 * 110_000 / GAINS["A"] * GAINS["A"]
    assert np.median(taken[117:155, 57:95]) == pytest.approx(wanted, rel=0.1)
    assert abs(np.median(taken[160:, :50])) < 2.0
    left = (image.data - sky.light["one"])[117:155, 57:95]
    assert abs(np.mean(left)) < 4 * np.std(left) / np.sqrt(left.size)


def test_counts_beyond_the_table_keep_its_last_correction_and_are_flagged():
    sky = Sky(3)
    sky.light["one"] = np.full((NY, NX), SKY)
    extra = np.zeros((NY, NX), int)
    extra[60:64, 30:34] = 108_000  # 33 750 linear counts of A; the table ends at 30 000
    image, _ = reduced(sky.expose(extra=extra), {}, cosmic_rays=False)
    part = image.data[60:64, 30:34].mean()
    linear = (108_000 + SKY) / GAINS["A"]
    end = as_read(30_000.0)
    wanted = (as_read(linear) + (30_000.0 - end)) * GAINS["A"]
    assert part == pytest.approx(wanted, rel=2e-3)
    assert (image.flags[60:64, 30:34] & Flag.NONLINEAR).all()
    assert not (image.flags[:, 40:] & Flag.NONLINEAR).any()


def test_saturation_is_each_amplifiers_own_and_bleeds_and_trails_are_flagged():
    sky = Sky(4)
    sky.light["one"] = np.full((NY, NX), SKY)
    extra = np.zeros((NY, NX), int)
    extra[100:110, 60:63] = 140_000  # 43 750 counts of A, and the same of B
    extra[100:110, 200:203] = int(as_read(34_000.0) * GAINS["B"])  # below the limit of B
    extra[70:140, 61] += 3000  # charge
    y, x = np.mgrid[:NY, :NX]
    extra[np.abs(0.4 * x - y + 120) < 2.0] += 400
    image, _ = reduced(sky.expose(extra=extra), {"bias": sky.masters()["bias"]}, cosmic_rays=False)
    saturated = (image.flags & Flag.SATURATED) != 0
    assert saturated[100:110, 60:63].all()
    assert saturated.sum() == 30
    assert ((image.flags[72:138, 61] & (Flag.BLEED | Flag.SATURATED)) != 0).mean() > 0.95
    trail = np.abs(0.4 * x - y + 120) < 1.0
    assert ((image.flags[trail] & Flag.TRAIL) != 0).mean() > 0.95
    assert ((image.flags & Flag.TRAIL) != 0).mean() < 0.05
    assert len(image.calibration["trails"]["lines"]) == 1
    assert image.calibration["bleed"]["pixels"] > 60


def test_what_is_not_there_is_told_and_a_defective_section_refused(camera_folder):
    sky = Sky(5)
    exposure = sky.expose()
    flat_sky = {**sky.masters(), "fringe": make_image(sky.random.normal(0, 1e-3, (NY, NX)))}
    image, piece = reduced(exposure, flat_sky, cosmic_rays=False)
    assert image.calibration["fringe"]["why"] == "the image does not show the pattern"
    assert not image.calibration["fringe"]["done"]
    with pytest.raises(StepImpossible, match="defective"):
        reduced(exposure, {}, "three")
    table = camera_folder / "pair.crosstalk"
    content = table.read_text()
    before = Preprocess(PreprocessSettings()).parameters()["cameras"]
    table.unlink()
    load_cameras(camera_folder)
    try:
        exposure = sky.expose()
        image, piece = reduced(exposure, {}, cosmic_rays=False)
        assert piece.notes["crosstalk"] == "there is no file pair.crosstalk"
        assert Preprocess(PreprocessSettings()).parameters()["cameras"] != before
    finally:
        table.write_text(content)
        load_cameras(camera_folder)


def test_a_missing_section_takes_its_ghosts_with_it():
    sky = Sky(6)
    exposure = sky.expose()
    exposure.data["two"] = np.zeros((30, 30), np.uint16)
    image, _ = reduced(exposure, sky.masters(), cosmic_rays=False)
    told = image.calibration["crosstalk"]
    assert told["done"]
    assert list(told["without"]) == ["two"]
    assert get_instrument_instance("Pair").get_crosstalk("one")


@pytest.mark.sample
def test_noise_of_a_reduced_stamp_is_what_its_header_says(samples):
    before = data_root()
    configure_data_roots(samples)
    try:
        path = next(samples.glob("legacypipe/testcase5/**/c4d_150411_035242_ooi_z_v1-N10.fits*"))
        image, _ = reduced(Exposure(filename=str(path)), {}, "N10")
    finally:
        configure_data_roots(before)
    assert image.calibration["flat"]["why"] == "before the file came"
    assert image.calibration["mask"]["pixels"] > 0
    good = image.flags == 0
    steps = (image.data[:, 2:] - image.data[:, :-2])[good[:, 2:] & good[:, :-2]]
    scatter = np.subtract(*np.percentile(steps, [84.1, 15.9])) / 2 / np.sqrt(2)
    assert scatter / np.sqrt(np.median(image.variance[good])) == pytest.approx(1.0, abs=0.05)
