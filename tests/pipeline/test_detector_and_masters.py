"""Raw sections to electrons, and masters of raw frames, against counts that are known."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
from in_memory import GAIN, READ_NOISE, make_exposure, make_image

from firstlight.algorithms.flags import Flag
from firstlight.instruments.header_reader import AmplifierArea
from firstlight.pipeline.detector_frame import BIAS_IN_DARK, DetectorFrame, masters_from
from firstlight.pipeline.make_master import make_master, master_lineage
from firstlight.pipeline.settings import PreprocessSettings
from firstlight.pipeline.step import Calibrations, StepImpossible, Workpiece
from firstlight.pipeline.steps.preprocess import Preprocess

SIDE, OVERSCAN, LEVEL = 96, 16, 1000.0


class Camera:
    """Raw frames of one chip with a bias pattern, dark current and uneven response."""

    def __init__(self, seed=1):
        self.random = np.random.default_rng(seed)
        self.pattern = self.random.normal(0, 3, (SIDE, SIDE))
        self.dark = np.full((SIDE, SIDE), 0.5)
        self.dark[40, 50] = 300.0
        y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
        response = 1 - 0.2 * (x**2 + y**2)
        self.flat = response / np.median(response)

    def expose(self, light, time, kind):
        charge = self.random.poisson(light * self.flat + self.dark * time)
        noisy = np.zeros((SIDE, SIDE + OVERSCAN))
        noisy[:, :SIDE] = charge / GAIN + self.pattern
        noisy += LEVEL + self.random.normal(0, READ_NOISE / GAIN, noisy.shape)
        raw = np.rint(noisy).clip(0, 65535).astype(np.uint16)
        return make_exposure(raw, kind=kind, exp_time=time, overscan=OVERSCAN)

    def masters(self, number=9):
        made = {}
        for role, before, light, time in (
            ("bias", (), 0.0, 0.0),
            ("dark", ("bias",), 0.0, 60.0),
            ("flat", ("bias", "dark"), 20_000.0, 5.0),
        ):
            raw = [self.expose(light, time, role) for _ in range(number)]
            made[role] = make_master(role, "A", raw, {each: made[each] for each in before})
            made[role].id = uuid.uuid4()
        return made


@pytest.fixture(scope="module")
def camera():
    return Camera()


@pytest.fixture(scope="module")
def masters(camera):
    return camera.masters()


def reduced(exposure, masters, **settings):
    piece = Workpiece(exposure, "A", Calibrations(masters, dict.fromkeys(masters, "given")))
    return Preprocess(PreprocessSettings(**settings)).run(piece), piece


def test_masters_are_what_the_camera_adds(camera, masters):
    for role, truth in (("bias", camera.pattern), ("dark", camera.dark), ("flat", camera.flat)):
        master = masters[role]
        good = (master.flags & Flag.BAD) == 0
        assert good.mean() > 0.99
        variance = master.variance + 0.0
        if role == "dark":
            # What the bias adds is kept apart: in a science frame it may cancel.
            variance += (GAIN / 60.0) ** 2 * masters["bias"].variance
        pull = (master.data - truth)[good] / np.sqrt(variance[good])
        assert np.std(pull) == pytest.approx(1.0, abs=0.15), role
        assert abs(np.mean(master.data[good] - truth[good])) < 0.02 * max(1.0, np.ptp(truth))
    assert masters["dark"].flags[40, 50] & Flag.BAD
    assert np.median(masters["flat"].data) == pytest.approx(1.0, abs=1e-3)
    assert masters["flat"].calibration["dark"]["master"] == str(masters["dark"].id)


def test_a_dark_knows_how_much_of_its_bias_it_undoes(masters):
    assert masters["dark"].calibration["bias"][BIAS_IN_DARK] == pytest.approx(1 / 60.0)
    planes = masters_from(masters)
    assert planes.bias_in_dark == pytest.approx(1 / 60.0)
    other = make_image(np.zeros((SIDE, SIDE)))
    assert masters_from({**masters, "bias": other}).bias_in_dark == 0.0
    assert masters_from({"bias": masters["bias"]}).bias_in_dark == 0.0


@pytest.mark.parametrize(("time", "number"), [(60.0, 3), (60.0, 9), (10.0, 3)])
def test_variance_holds_with_few_calibration_frames(time, number):
    """With three of each, errors of bias and dark are a third of the noise, or cancel."""
    camera = Camera(seed=7)
    masters = camera.masters(number)
    sky = 60.0
    pulls = []
    for _ in range(6):
        image, _ = reduced(camera.expose(sky, time, "science"), masters, cosmic_rays=False)
        good = image.flags == 0
        pulls.append(((image.data - sky) / np.sqrt(image.variance))[good])
    assert np.mean(np.square(pulls[0])) == pytest.approx(1.0, abs=0.06)
    assert np.mean(np.square(np.concatenate(pulls))) == pytest.approx(1.0, abs=0.05)


def test_every_correction_is_recorded_as_done_or_not(camera, masters):
    exposure = camera.expose(100.0, 30.0, "science")
    image, piece = reduced(exposure, {"bias": masters["bias"]})
    told = image.calibration
    assert told["overscan"]["done"]
    assert told["bias"]["master"] == str(masters["bias"].id)
    assert told["dark"] == {"done": False, "why": "no master"}
    assert piece.notes["flat"] == "no master"
    assert told["gain"]["value"] == GAIN
    assert [(each.role, each.input_image_id) for each in image.inputs] == [
        ("bias", masters["bias"].id)
    ]
    image, _ = reduced(exposure, masters, flat=False, overscan=False)
    assert image.calibration["flat"] == {"done": False, "why": "switched off"}
    assert image.calibration["overscan"]["why"] == "switched off"
    assert image.pixel_scale == 5.0


def test_noise_is_measured_where_nothing_tells_the_level(camera):
    image, _ = reduced(camera.expose(400.0, 30.0, "science"), {}, overscan=False)
    assert image.calibration["noise"]["done"]
    steps = np.diff(image.data[:, ::2], axis=0).ravel()
    scatter = np.subtract(*np.percentile(steps, [84.1, 15.9])) / 2 / np.sqrt(2)
    assert np.sqrt(np.median(image.variance)) == pytest.approx(scatter, rel=0.1)


def test_without_a_time_there_is_no_image(camera):
    exposure = camera.expose(100.0, 30.0, "science")
    exposure.mjd = None
    with pytest.raises(StepImpossible, match="when it was taken"):
        reduced(exposure, {})


def test_amplifiers_are_put_together_each_with_its_own_level():
    random = np.random.default_rng(5)
    raw = random.normal(0, 2, (40, 2 * (30 + 8)))
    raw[:, :38] += 500
    raw[:, 38:] += 800
    raw[:, 8:38] += 100  # light of the left half, beside its overscan
    raw[:, 38:68] += 200
    rows = slice(0, 40)
    areas = [
        AmplifierArea("left", (rows, slice(0, 8)), (rows, slice(8, 38)), (rows, slice(0, 30))),
        AmplifierArea("right", (rows, slice(68, 76)), (rows, slice(38, 68)), (rows, slice(30, 60))),
    ]
    frame = DetectorFrame(raw=raw, areas=areas, gain=2.0, read_noise=4.0, saturation=None)
    assert frame.has_overscan
    bias = make_image(np.full((40, 60), 10.0))
    masters = masters_from({"bias": bias})
    done = frame.to_electrons(masters, 1.0, overscan=True, growth=0)
    assert done.data.shape == (40, 60)
    assert np.median(done.data[:, :30]) == pytest.approx(2 * 90, abs=2)
    assert np.median(done.data[:, 30:]) == pytest.approx(2 * 190, abs=2)


def test_saturated_pixels_and_their_neighbours_are_flagged():
    raw = np.full((20, 20), 1000, np.uint16)
    raw[10, 10] = 65000
    frame = DetectorFrame(raw=raw, areas=[], gain=1.0, read_noise=5.0, saturation=60000.0)
    done = frame.to_electrons(masters_from({}), 1.0, overscan=False, growth=1)
    assert done.flags[10, 10] & Flag.SATURATED
    assert done.flags[10, 11] & Flag.BLEED
    assert done.flags[10, 13] == 0


def test_masters_of_a_role_have_their_own_lineage():
    assert len({master_lineage(role).id for role in ("bias", "dark", "flat")}) == 3
    assert master_lineage("flat").id == master_lineage("flat").id


def still_and_drifting(drift):
    """Twelve frames of hot pixels under a field that drifts or stays."""
    random = np.random.default_rng(8)
    hot = np.zeros((160, 160))
    hot[tuple(random.integers(0, 160, (2, 40)))] = 400.0
    y, x = np.mgrid[:160, :160]
    stars = np.column_stack([random.uniform(-90, 160, 40), random.uniform(0, 160, 40)])
    frames = []
    for k in range(12):
        sky = sum(
            900 * np.exp(-((x - sx - drift * k) ** 2 + (y - sy) ** 2) / 4.0) for sx, sy in stars
        )
        counts = 500 + hot + sky + random.normal(0, 4, (160, 160))
        frames.append(make_exposure(counts.astype(np.uint16)))
    return frames, hot


def test_a_static_level_is_what_stays_while_the_sky_moves():
    frames, hot = still_and_drifting(8.0)
    master = make_master("static_level", "A", frames, {})
    rate = hot * GAIN / 30.0
    assert "usable" not in master.calibration
    np.testing.assert_allclose(master.data[hot > 0], rate[hot > 0], rtol=0.1)
    assert np.std(master.data[hot == 0]) < 0.05 * rate.max()


def test_a_field_that_stays_makes_no_static_level():
    frames, _ = still_and_drifting(0.0)
    master = make_master("static_level", "A", frames, {})
    assert master.calibration["usable"]["why"] == "the field does not drift enough"
    assert not master.data.any()
