"""What changed between two files: found, told and written, on simulated and on real pairs."""

import json
from itertools import product

import numpy as np
import pytest
from pyarrow.parquet import read_table
from typer.testing import CliRunner

from firstlight.algorithms.candidates.cuts import DELETION_CUTS
from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.cli.main import app
from firstlight.errors import InvalidInput
from firstlight.formats.fits_image import read_planes
from firstlight.pipeline.changes import NotAligned
from firstlight.pipeline.comparison import compare_images, prepare
from firstlight.services.image_comparison import UNLIKE, ImageComparisonService
from firstlight.simulation.transient_files import write_pair
from firstlight.simulation.transient_pair import PairSettings, simulate_pair

SIDE = 420
NEAR = 2.0  # pixels


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A pair on disk, and where its transients are."""
    folder = tmp_path_factory.mktemp("pair")
    pair = simulate_pair(PairSettings.of_size(SIDE, SIDE, seed=11, transients=8))
    new, reference = write_pair(pair, folder)
    return new, reference, pair.transients


@pytest.fixture(scope="module")
def service():
    return ImageComparisonService(catalog=Tycho2())


@pytest.fixture(scope="module")
def found(files, service, tmp_path_factory):
    folder = tmp_path_factory.mktemp("changes")
    return service.compare(*files[:2], output=folder), folder


def nearest(changes, x, y):
    return min(changes, key=lambda each: np.hypot(each.x - x, each.y - y))


def test_transients_are_found_where_they_are(files, found):
    truth, told = files[2], found[0]
    bright = np.flatnonzero(truth.snr > 9)
    assert len(bright) >= 5
    for number in bright:
        # A small frame says little of what bright galaxies leave: there it need not be believed.
        alone = truth.host[number] < 0
        among = told.kept if alone else told.changes
        one = nearest(among, truth.x[number], truth.y[number])
        assert np.hypot(one.x - truth.x[number], one.y - truth.y[number]) < NEAR
        if alone:
            assert abs(one.flux - truth.flux[number]) < 4 * one.flux_err


def test_little_else_is_kept(files, found):
    truth = files[2]
    false = [
        each for each in found[0].kept
        if np.hypot(each.x - truth.x, each.y - truth.y).min() > NEAR
    ]  # fmt: skip
    assert len(false) <= 3


def test_errors_are_right_where_nothing_changed(found):
    assert found[0].noise == pytest.approx(1.0, abs=0.06)
    assert found[0].flux_ratio == pytest.approx(0.25, rel=0.02)
    assert found[0].alignment["noise"] < 0.1


def test_what_is_written_is_what_was_told(found):
    told, folder = found
    planes = read_planes(folder / "difference.fits")
    assert planes.data.shape == (SIDE, SIDE)
    assert planes.header["REFIMAGE"] == "reference.fits"
    score = planes.extras["score"]
    best = told.kept[0]
    y, x = round(best.y), round(best.x)
    assert score[y - 2 : y + 3, x - 2 : x + 3].max() == pytest.approx(best.score, rel=0.1)
    table = read_table(folder / "changes.parquet").to_pydict()
    assert table["score"] == [each.score for each in told.changes]
    assert [not why for why in table["why_not"]] == [not each.why_not for each in told.changes]
    assert (folder / "changes.png").stat().st_size > 5_000
    assert sorted(told.written) == sorted(str(path) for path in folder.iterdir())


def test_the_other_way_round_the_same_is_missing(files, service, found):
    new, reference, truth = files
    told = service.compare(reference, new)
    number = int(np.argmax(truth.snr))
    bright = nearest(found[0].kept, truth.x[number], truth.y[number])
    lost = min(told.kept, key=lambda each: each.score)
    assert lost.score == pytest.approx(-bright.score, rel=0.15)


def test_other_fields_are_refused(files, service, tmp_path):
    other, _ = write_pair(simulate_pair(PairSettings.of_size(SIDE, SIDE, seed=12)), tmp_path)
    with pytest.raises(NotAligned) as fault:
        service.compare(files[0], other)
    assert fault.value.subject == "new.fits"


@pytest.mark.parametrize("threshold", [0.0, 2.0, float("nan")])
def test_a_threshold_within_the_noise_is_refused(files, service, threshold):
    with pytest.raises(InvalidInput, match="threshold"):
        service.compare(*files[:2], threshold=threshold)


def test_the_command(files, found, tmp_path):
    new, reference, _ = files
    ask = ["-w", str(tmp_path), "subtract", str(new), str(reference)]
    answer = CliRunner().invoke(app, [*ask, "--json"])
    assert answer.exit_code == 0
    told = json.loads(answer.stdout)
    assert told["kept"] == len(found[0].kept)
    assert [each["score"] for each in told["changes"]] == [e.score for e in found[0].changes]
    answer = CliRunner().invoke(app, ask)
    assert f"{told['kept']} changes above 5 sigma" in answer.stdout
    # Deep in the noise there is what is no new source, with its reason.
    answer = CliRunner().invoke(app, [*ask, "--all", "--threshold", "3.2"])
    assert any(cut.reason[:20] in answer.stdout for cut in DELETION_CUTS) or UNLIKE in answer.stdout


NIGHTS = {night: [f"DEC-OBS{night}{each}.mini.fits" for each in "abcde"] for night in ("04", "18")}
# The brightest star, of 1.6 million electrons: it varies by 4 per cent within a night,
# and has moved by 0.4 pixels in two years, against all others (measured on the single images).
VARIABLE = 57.7, 180.4
SUPERNOVA = 129.5, 128.0


@pytest.fixture(scope="module")
def nights(samples, service):
    """Each image of two nights of DECam, prepared; they are not changed by a comparison."""
    folder = samples / "sfft_decam" / "input_data"
    prepared = {}
    for names in NIGHTS.values():
        for name in names:
            prepared[name] = service._bench(folder / name, None)
            prepare(prepared[name], lambda _stage, _seconds: None)
    return prepared


def at_stars(bench, score):
    """Place and largest score within a FWHM of each star with a signal-to-noise ratio above 30."""
    found = bench.detection.sources
    y, x = np.mgrid[: score.shape[0], : score.shape[1]]
    for i, j, snr in zip(found.x_win, found.y_win, found.snr, strict=True):
        apart = min(np.hypot(i - a, j - b) for a, b in (VARIABLE, SUPERNOVA))
        if snr > 30 and apart > 5:
            yield i, j, float(np.abs(score[np.hypot(x - i, y - j) <= bench.fwhm]).max())


def sky_of(bench, score):
    """Scores farther from all sources than three FWHM."""
    found = bench.detection.sources
    y, x = np.mgrid[: score.shape[0], : score.shape[1]]
    away = np.full(score.shape, np.inf)
    for i, j in zip(found.x_win, found.y_win, strict=True):
        away = np.minimum(away, np.hypot(x - i, y - j))
    return score[(away > 3 * bench.fwhm) & (score != 0)]


@pytest.mark.sample
@pytest.mark.slow
@pytest.mark.parametrize("turned", [False, True])
def test_noise_and_stars_in_differences_of_two_real_nights(nights, turned):
    """Each image of one night against each of the other, which were resampled by others before."""
    worst, widths, shared = [], [], []
    first, second = (NIGHTS[night] for night in (("04", "18") if turned else ("18", "04")))
    for new, reference in product(first, second):
        told = compare_images(nights[new], nights[reference])
        score = told.subtraction.score
        worst += [peak for _, _, peak in at_stars(nights[new], score)]
        sky = sky_of(nights[new], score)
        widths.append(float(MAD_TO_SIGMA * np.median(np.abs(sky - np.median(sky)))))
        shared.append(told.scatter)
        x, y = told.candidates.x, told.candidates.y
        near = np.hypot(x - SUPERNOVA[0], y - SUPERNOVA[1]) < 3
        assert np.abs(told.candidates.score[near]).max(initial=0.0) > 5
    assert 0.98 < np.mean(widths) < 1.05
    assert min(widths) > 0.93
    assert max(widths) < 1.07
    # Neighbouring pixels share noise in all of them, and some by a fifth.
    assert max(shared) > 1.1
    # At random places in empty sky 3 or 4 of 1000 circles of that size have 4 sigma somewhere.
    assert len(worst) > 100
    assert np.mean(np.array(worst) > 4.0) < 0.03
    assert max(worst) < 6.0


@pytest.mark.sample
def test_the_supernova_in_a_real_pair(samples, service):
    """DECam, two nights: what is bright in the middle of one is not there in the other."""
    folder = samples / "sfft_decam" / "input_data"
    told = service.compare(folder / "DEC-OBS04a.mini.fits", folder / "DEC-OBS18a.mini.fits")
    one = nearest(told.kept, 128.5, 127.5)
    assert np.hypot(one.x - 128.5, one.y - 127.5) < 1.5
    assert one.score > 8
    assert len(told.kept) <= 3
    assert 0.98 < told.noise < 1.05
