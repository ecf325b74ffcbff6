"""A simulated survey is what its truth says, byte for byte the same each time."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shlex
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits
from scipy.spatial import cKDTree
from survey_world import electrons_of, tiny, true_projection, truth_of
from typer.testing import CliRunner

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.catalog_settings import CatalogSettings
from firstlight.catalogs.registry import choose_catalog, get_catalog
from firstlight.cli.main import app
from firstlight.errors import BadSettings, MissingError
from firstlight.instruments import get_instrument_instance, guess_instrument
from firstlight.pipeline.header_projection import header_projection, shifted
from firstlight.simulation.survey import Survey, SurveyMade, SurveyThere, simulate_survey
from firstlight.simulation.survey_camera import Ccd
from firstlight.simulation.survey_exposure import Scene, cosmic_rays, make_scene
from firstlight.simulation.survey_nights import Visit
from firstlight.simulation.survey_settings import BANDS, SurveySettings
from firstlight.simulation.survey_sky import SurveySky

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "simulate-a-survey.md"


@dataclass(frozen=True)
class Simulated:
    made: SurveyMade
    settings: SurveySettings
    visits: tuple[Visit, ...]
    camera: tuple[Ccd, ...]
    sky: SurveySky
    scenes: tuple[Scene, ...]

    def truth(self, name: str):
        return truth_of(self.made.folder, name)


@pytest.fixture(scope="module")
def survey(tmp_path_factory) -> Simulated:
    made = simulate_survey(tiny(), tmp_path_factory.mktemp("survey"))
    known = Survey.load(made.folder)
    assert known.settings == tiny()
    scenes = tuple(make_scene(known.settings, known.sky, visit) for visit in known.visits)
    return Simulated(made, known.settings, known.visits, known.camera, known.sky, scenes)


def checksums(folder: Path) -> dict[Path, str]:
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "settings.toml"
    }


def test_same_settings_same_bytes_however_many_calibration_frames(survey, tmp_path):
    more = simulate_survey(tiny(n_bias=4, n_flat=2), tmp_path)
    mine, its = checksums(survey.made.folder), checksums(more.folder)
    raw = [path for path in mine if path.suffix == ".fits"]
    assert len(raw) == len(survey.made.files) == 2 * (3 + 3 + 2)
    assert len([path for path in its if path.suffix == ".fits"]) == 2 * (4 + 2 + 2)
    first = [Path(f"raw/mosaic_20260115_bias_{i:03d}.fits") for i in (1, 2, 3)]
    kept = [*first, *(Path("raw") / visit.name for visit in survey.visits)]
    kept += [path for path in mine if path.suffix == ".parquet"]
    assert len(kept) >= 3 + 4 + 10
    assert {path: its[path] for path in kept} == {path: mine[path] for path in kept}


def test_another_seed_is_another_survey_and_is_refused_beside_the_first(survey):
    other = Survey.draw(tiny(seed=2))
    assert other.visits[0].conditions.pointing != survey.visits[0].conditions.pointing
    assert other.visits[0].conditions.fwhm != survey.visits[0].conditions.fwhm
    mine, its = survey.camera[0], other.camera[0]
    assert mine.amplifiers[0].seed != its.amplifiers[0].seed
    assert (mine.response != its.response).mean() > 0.9
    assert (other.sky.fixed.stars.ra != survey.sky.fixed.stars.ra).all()
    with pytest.raises(SurveyThere):
        simulate_survey(other.settings, survey.made.folder)


def test_a_header_is_read_as_decams_would_be(survey):
    path = next(path for path in survey.made.files if path.name == survey.visits[0].name)
    header = fits.getheader(path)
    assert guess_instrument(path, header) == "SimulatedMosaic2"
    camera = get_instrument_instance("SimulatedMosaic2")
    assert [str(each) for each in camera.get_section_ids()] == ["S1", "S2"]
    assert camera.get_kind(header) == "science"
    assert camera.check_header(header) == []
    for ccd in survey.camera:
        own = fits.getheader(path, ccd.section)
        areas = camera.overscan_and_data_sections(own)
        assert [area.name for area in areas] == ["A", "B"]
        assert [own["GAINA"], own["GAINB"]] == [a.gain for a in ccd.amplifiers]
        assert own["SATURATA"] == survey.settings.saturation
        assert (own["NAXIS2"], own["NAXIS1"]) == (256, 256 + 2 * survey.settings.overscan)


def test_the_header_believes_in_a_wrong_pointing_without_distortion(survey):
    sections, settings = survey.truth("sections"), survey.settings
    for row, visit in itertools.product(range(2), survey.visits):
        ccd = survey.camera[row]
        own = fits.getheader(survey.made.raw / visit.name, ccd.section)
        assert own["CTYPE1"] == "RA---TAN"
        told = shifted(header_projection(own, (256, 256)), settings.overscan, 0)
        true = true_projection(sections, 2 * visit.number + row)
        assert true.order == 3
        x, y = np.meshgrid([0.0, 127.5, 255.0], [0.0, 127.5, 255.0])
        off = 3600 * angular_separation(*told.pixel_to_sky(x, y), *true.pixel_to_sky(x, y))
        assert off.min() > 0.2
        assert off.max() < 1.5 * settings.pointing_error


@pytest.mark.parametrize("section", [0, 1])
def test_amplifiers_have_the_gain_and_noise_of_their_cards(survey, section):
    ccd, raw = survey.camera[section], survey.made.raw
    bias, flat = (
        [
            fits.getdata(raw / f"mosaic_20260115_{kind}_{i:03d}.fits", ccd.section).astype(float)
            for i in (1, 2)
        ]
        for kind in ("bias", "flat_r")
    )
    header = fits.getheader(raw / "mosaic_20260115_bias_001.fits", ccd.section)
    places = get_instrument_instance("SimulatedMosaic2").overscan_and_data_sections(header)
    for place, amplifier, response in zip(
        places, ccd.amplifiers, np.hsplit(ccd.response, 2), strict=True
    ):
        # Neighbours in a row: the drift of the rows cancels.
        noise = np.std(np.diff((bias[0] - bias[1])[place.bias])) / 2 * amplifier.gain
        rounding = amplifier.gain / np.sqrt(12)
        assert noise == pytest.approx(np.hypot(amplifier.read_noise, rounding), rel=0.03)
        level = [each[place.data] - each[place.bias].mean(axis=1, keepdims=True) for each in flat]
        first, second = (each[response > 0.5] / response[response > 0.5] for each in level)
        # The photon transfer curve: the second flat brought to the level of the first.
        scale = first.mean() / second.mean()
        variance = np.var(first - scale * second) / (1 + scale)
        assert first.mean() / variance == pytest.approx(amplifier.gain, rel=0.04)


def test_stars_are_where_and_as_bright_as_the_truth_says(survey):
    stars, exposures, sections = (survey.truth(name) for name in ("stars", "exposures", "sections"))
    off, ratio = [], []
    for visit in survey.visits:
        zero_point = exposures["zero_point"][visit.number]
        electrons = 10 ** (0.4 * (zero_point - stars["mag_r"]))
        for row, ccd in enumerate(survey.camera):
            k = 2 * visit.number + row
            assert (sections["exposure"][k], sections["section"][k]) == (visit.number, ccd.section)
            x, y = true_projection(sections, k).sky_to_pixel(stars["ra"], stars["dec"])
            image = electrons_of(survey.made.raw / visit.name, ccd) - sections["sky"][k]
            good = usable(stars, electrons, x, y)
            image = np.ascontiguousarray(image)
            seen = sep.winpos(image, x[good], y[good], np.full(good.sum(), 1.4))
            off.append(np.column_stack([seen[0] - x[good], seen[1] - y[good]]))
            fwhm = sections["fwhm"][k]
            flux, _, _ = sep.sum_circle(image, x[good], y[good], 2 * fwhm)
            ratio.append(flux / electrons[good])
    off, ratio = np.concatenate(off), np.concatenate(ratio)
    assert len(ratio) > 40
    assert np.abs(np.median(off, axis=0)).max() < 0.01
    assert np.median(np.hypot(*off.T)) < 0.06
    # A circle of two FWHM holds 97.7 % of a Moffat profile of power 3.5; faint neighbours add.
    assert np.median(ratio) == pytest.approx(0.980, abs=0.008)


def test_pixels_scatter_about_the_truth_by_their_noise(survey):
    visit, ccd, scene = survey.visits[3], survey.camera[1], survey.scenes[3]
    expected = (scene.light + scene.new_light + scene.sky)[ccd.window]
    variance = (expected * ccd.response + ccd.read_variance) / ccd.response**2
    image = electrons_of(survey.made.raw / visit.name, ccd)
    pulls = ((image - expected) / np.sqrt(variance))[ccd.response > 0.5]
    struck = np.abs(pulls) > 5
    hits = cosmic_rays(survey.settings, visit, ccd)[1][ccd.response > 0.5] > 0
    assert 20 < struck.sum() == (struck & hits).sum()
    assert np.std(pulls[~hits]) == pytest.approx(1.0, abs=0.03)
    assert np.mean(pulls[~hits]) == pytest.approx(0.0, abs=0.05)


def usable(stars, electrons, x, y):
    """Bright stars that do not vary, are held, and have nobody near."""
    places = np.column_stack([x, y])
    near = cKDTree(places).query_ball_point(places, 14.0)
    others = np.array([electrons[each].sum() for each in near]) - electrons
    inside = (x > 22) & (x < 233) & (y > 22) & (y < 233)
    still = np.array([kind == "" for kind in stars["variable"]])
    return inside & still & ~stars["saturated"] & (electrons > 6e3) & (others < 0.02 * electrons)


def test_transients_are_dark_at_first_and_then_as_bright_as_the_truth_says(survey, tmp_path):
    curves, listed = survey.truth("transient_curves"), survey.truth("transients")
    assert listed.rows == survey.settings.transients
    assert (listed["host"] >= 0).any()
    assert (listed["host"] < 0).any()
    assert (listed["start_mjd"] > max(v.conditions.mid_mjd for v in survey.visits[:2])).all()
    without = simulate_survey(tiny(transients=0), tmp_path)
    compared = 0
    for row in range(curves.rows):
        visit = survey.visits[curves["exposure"][row]]
        assert curves["section"][row]
        ccd = survey.camera[int(str(curves["section"][row])[1:]) - 1]
        path = survey.made.raw / visit.name
        light = electrons_of(path, ccd) - electrons_of(without.raw / visit.name, ccd)
        x, y = float(curves["x"][row]), float(curves["y"][row])
        j, i = np.mgrid[:256, :256]
        near = np.hypot(i - x, j - y) < 10
        expected = curves["electrons"][row]
        # Both have the same noise but for the transient's own.
        assert light[near].sum() == pytest.approx(expected, abs=120 + 0.05 * expected)
        compared += expected > 1000
        if visit.night < survey.settings.reference_nights:
            assert expected == 0
    assert compared >= 4
    assert listed["best_snr"].min() > 2


def test_errors_of_transients_are_those_of_both_images(survey):
    curves = survey.truth("transient_curves")
    for row in range(curves.rows):
        k, number = curves["transient"][row], curves["exposure"][row]
        visit, scene = survey.visits[number], survey.scenes[number]
        x, y = scene.x[k], scene.y[k]
        shape = scene.psf.centred(x, y, 12)
        j, i = round(float(y)), round(float(x))
        there = slice(j - 12, j + 13), slice(i - 12, i + 13)
        level = scene.light[there] + scene.sky[there] + survey.settings.read_noise**2
        alone = 1 / np.sqrt((shape**2 / level).sum())
        ratio = curves["electrons_err"][row] / alone
        # Nothing is taken off the first images; the mean of the two costs the others a half more.
        expected = (0.95, 1.05) if visit.night == 0 else (1.05, 1.6)
        assert expected[0] < ratio < expected[1]
        assert curves["snr"][row] == curves["electrons"][row] / curves["electrons_err"][row]
        ujy = 10 ** (-0.4 * (visit.zero_point - 23.9)) * curves["electrons"][row]
        assert curves["flux"][row] == pytest.approx(ujy)


def test_asteroids_move_and_are_drawn_where_they_are(survey):
    listed, places = survey.truth("moving"), survey.truth("moving_positions")
    rate = np.hypot(listed["east"], listed["north"])
    assert ((rate > 15) & (rate < 40)).all()
    assert len(set(places["moving"])) >= 2
    without = Survey.draw(tiny(moving=0))
    visit = survey.visits[2]
    light = survey.scenes[2].light - make_scene(without.settings, without.sky, visit).light
    j, i = np.mgrid[:256, :256]
    for row in np.flatnonzero(places["exposure"] == 2):
        ccd = survey.camera[int(str(places["section"][row])[1:]) - 1]
        x, y = places["x"][row], places["y"][row]
        near = np.hypot(i - x, j - y) < 12
        assert 14 < x < 241
        assert 14 < y < 241
        caught = light[ccd.window][near]
        assert caught.sum() == pytest.approx(places["electrons"][row], rel=0.04)
        assert (caught * i[near]).sum() / caught.sum() == pytest.approx(x, abs=0.1)
        assert (caught * j[near]).sum() / caught.sum() == pytest.approx(y, abs=0.1)
    assert set(places["exposure"]) & {0, 1}
    assert set(places["exposure"]) & {2, 3}


def test_variable_stars_vary_as_their_curves_say(survey):
    stars, curves = survey.truth("stars"), survey.truth("variable_curves")
    varies = np.flatnonzero([kind != "" for kind in stars["variable"]])
    assert len(varies) == survey.settings.variables
    assert set(curves["star"]) == set(varies)
    zero_points = survey.truth("exposures")["zero_point"]
    for row in range(curves.rows):
        star, number = curves["star"][row], curves["exposure"][row]
        light = survey.sky.electrons(survey.visits[number], survey.settings.sky.zero_point)[star]
        mag = zero_points[number] - 2.5 * np.log10(light)
        assert curves["mag"][row] == pytest.approx(mag, abs=1e-9)
    off = curves["mag"] - stars["mag_r"][curves["star"]]
    assert np.ptp(off) > 0.1


def test_filters_have_colours_and_flats_of_their_own(tmp_path):
    settings = tiny(filters="gr", visits=1, transients=2, n_bias=1, n_flat=1, sections=1)
    made = simulate_survey(settings, tmp_path)
    names = [path.name for path in made.files]
    assert [name.split("_")[2] for name in names if "flat" not in name and "bias" not in name] == [
        "g", "r", "g", "r",
    ]  # fmt: skip
    assert len([name for name in names if "flat_g" in name]) == 2
    known = Survey.load(tmp_path)
    visits, sky = known.visits, known.sky
    assert visits[0].zero_point != visits[1].zero_point
    stars = truth_of(tmp_path, "stars")
    zero = settings.sky.zero_point
    still = np.array([kind == "" for kind in stars["variable"]])
    for visit in visits[:2]:
        mag = visit.zero_point - 2.5 * np.log10(sky.electrons(visit, zero)[: len(still)])
        assert mag[still] == pytest.approx(stars[f"mag_{visit.band}"][still], abs=1e-9)
    colour = stars["mag_g"] - stars["mag_r"]
    assert 0.1 < colour.min() < 0.4
    assert 1.2 < colour.max() < 1.5
    z = stars["mag_r"] + BANDS["z"].slope * colour
    assert stars["mag_z"] == pytest.approx(z)


def test_the_settings_lead_to_a_catalogue_of_the_stars(survey):
    told = tomllib.loads(survey.made.settings.read_text())
    settings = CatalogSettings(**told["catalogs"])
    for purpose in ("astrometry", "photometry"):
        assert choose_catalog(settings, purpose) == "simulated"
    found = get_catalog("simulated", settings).cone(
        survey.settings.ra, survey.settings.dec, 0.1, epoch=2026.05
    )
    stars = survey.truth("stars")
    known = stars["mag_r"] < survey.settings.catalog_limit
    assert len(found) == known.sum() > 50
    order = np.argsort(found.ra), np.argsort(stars["ra"][known])
    off = angular_separation(
        *(a[order[0]] for a in (found.ra, found.dec)),
        *(stars[name][known][order[1]] for name in ("ra", "dec")),
    )
    pull = 3600 * off / found.position_err[order[0]]
    assert np.sqrt(np.mean(pull**2) / 2) == pytest.approx(1.0, abs=0.3)
    assert np.std(found.mag[order[0]] - stars["mag_r"][known][order[1]]) < 0.01


def test_counts_of_what_disturbs(survey):
    exposures, sections = survey.truth("exposures"), survey.truth("sections")
    assert sections.rows == 2 * exposures.rows == 8
    rate = sections["cosmic_rays"].mean() / (256 * 256 / 1e6)
    assert rate == pytest.approx(survey.settings.cosmic_rays, rel=0.4)
    assert (sections["cosmic_ray_pixels"] > 2 * sections["cosmic_rays"]).all()
    trails = survey.truth("trails")
    assert set(trails["exposure"]) == set(np.flatnonzero(exposures["trail"]))
    assert len(set(exposures["sky"])) == len(set(exposures["fwhm"])) == exposures.rows
    assert list(exposures["reference"]) == [True, True, False, False]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"sections": 3}, "sections"),
        ({"columns": 258}, "columns"),
        ({"filters": "rr"}, "filters"),
        ({"filters": "u"}, "filters"),
        ({"nights": 1}, "nights"),
        ({"sections": 16, "rows": 4096}, "grid"),
        ({"fwhm": (4.0, 3.0)}, "fwhm"),
        ({"visit": 3}, "visits"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changed, named):
    with pytest.raises(BadSettings, match=named):
        tiny(**changed)


def test_a_field_that_is_not_up_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(BadSettings, match="not up"):
        simulate_survey(tiny(dec=80.0), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_there_is_no_survey_in_an_empty_folder(tmp_path):
    with pytest.raises(MissingError):
        Survey.load(tmp_path)


def test_command(tmp_path):
    folder = tmp_path / "s"
    small = ["--nights", "2", "--sections", "1", "--visits", "1", "--shape", "192x192"]
    given = ["simulate-survey", str(folder), *small, "--transients", "1"]
    done = CliRunner().invoke(app, [*given, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["instrument"] == "SimulatedMosaic"
    assert len(told["files"]) == 2 * (3 + 3 + 1)
    assert all(Path(path).is_file() for path in [*told["files"], *told["tables"]])
    assert told["next"][2] == f"firstlight -w w ingest {folder / 'raw'}"
    assert told["next"][-1] == "firstlight -w w reduce"
    assert len(told["next"]) == 4  # one image makes no reference
    other = CliRunner().invoke(app, [*given, "--seed", "2"])
    assert other.exit_code == 4
    bad = CliRunner().invoke(app, ["simulate-survey", str(tmp_path), "--shape", "512"])
    assert bad.exit_code == 2


def test_the_page_names_every_column_and_its_code_runs(survey, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    for table in survey.made.tables:
        line = next(line for line in text.splitlines() if line.startswith(f"| `{table.stem}` |"))
        named = set(re.findall(r"`(\w+)`", line)[1:])
        columns = set(survey.truth(table.stem)) - ({"mag_r", "mag_i", "mag_z"} - named)
        assert columns == named
    monkeypatch.chdir(survey.made.folder.parent)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = code.replace('Path("survey")', f"Path({survey.made.folder.name!r})")
    names: dict[str, object] = {}
    exec(compile(code, str(PAGE), "exec"), names)  # noqa: S102, our own page is the code under test
    assert names["light"].shape == names["charge"].shape == (256, 256)


def test_next_commands_can_be_copied_whatever_the_folder_is_called():
    folder = Path("my survey")
    made = SurveyMade(
        folder=folder, raw=folder / "raw", settings=folder / "settings.toml", instrument="x",
        files=(), tables=(), references_until=None,
    )  # fmt: skip
    words = [shlex.split(command) for command in made.next_commands]
    assert words[1] == ["cat", "my survey/settings.toml", ">>", "w/firstlight.toml"]
    assert words[2] == ["firstlight", "-w", "w", "ingest", "my survey/raw"]


def test_nights_without_transients_are_told_as_the_reference():
    settings = SurveySettings(nights=4, visits=2, reference_nights=2, nights_apart=3)
    assert settings.references_until == date(2026, 1, 18)
    assert SurveySettings(visits=2).references_until is None
    made = SurveyMade(Path(), Path(), Path(), "X", (), (), date(2026, 1, 18))
    assert "firstlight -w w reference build --to 2026-01-18" in made.next_commands
