"""What came of a run is kept, and given to whoever may see it."""

import base64
import hashlib
import io
import json
import uuid

import joblib
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from firstlight.errors import InvalidInput
from firstlight.formats.posterior_samples import unpack
from firstlight.models.analysis import Analysis, AnalysisFile, AnalysisFileKind
from firstlight.services.analyses.analyses import AnalysisMissing
from firstlight.services.analyses.analysis_products import AnalysisProducts, ProductMissing
from firstlight.services.analyses.corner_plots import CornerFailed
from firstlight.services.analyses.result_files import (
    ResultFileDamaged,
    ResultFileMissing,
    ResultFiles,
)
from firstlight.services.analyses.submissions import Product, SubmissionReader

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def png(colour="red"):
    written = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(written, "png")
    return written.getvalue()


def b64(data):
    return base64.b64encode(data).decode()


RNG = np.random.default_rng(7)
SENT = {
    "results": {"format": "json", "data": {"chisq": 1.5, "bad": None}},
    "plots": [{"format": "png", "data": b64(png()), "title": "fit"}, {"data": b64(SVG)}],
    "posterior_samples": {
        "t0": RNG.normal(59000, 1, 400).tolist(),
        "x1": RNG.normal(size=400).tolist(),
        "fixed": [0.5] * 400,
    },
    "model_lightcurve": {"ztfg": [[59000.0, 1.0, 0.5, 1.5]]},
    "model_name": "salt3",
    "n_detections": 12,
}


class World:
    """A run of ada's on FL1, which mia and cy see as well; bob does not."""

    def __init__(self, world, folder):
        self.world = world
        self.files = ResultFiles(store=world.store)
        self.products = AnalysisProducts(database=world.database, store=world.store)
        self.ada = world.viewer("ada")
        self.folder = folder
        self.number = self.run()

    def run(self):
        return self.world.start(self.world.add_service(f"fitter {uuid.uuid4()}"))

    def send(self, analysis, number=None):
        """Keep results as the callback does."""
        path = self.folder / "body.json"
        path.write_text(json.dumps({"status": "success", "message": "", "analysis": analysis}))
        number = number or self.number
        with SubmissionReader().read(path) as found:
            kept = self.files.keep(number, found.products)
            with self.world.database.begin() as session:
                session.get_one(Analysis, number).facts = found.facts
                self.files.save(session, kept)
        return number

    def rows(self, kind=None):
        with self.world.database.reading() as session:
            rows = session.scalars(select(AnalysisFile).order_by(AnalysisFile.id)).all()
            return [row for row in rows if kind in (None, row.kind)]

    def keys(self):
        return [entry.key for entry in self.world.store.list("portal/analyses")]


@pytest.fixture
def here(analysis_world, tmp_path):
    return World(analysis_world, tmp_path)


@pytest.fixture
def sent(here):
    here.send(SENT)
    return here


def test_everything_comes_back(sent):
    products, ada, number = sent.products, sent.ada, sent.number
    assert products.plot(ada, number).data == png()
    assert products.plot(ada, number, 1).data == SVG
    assert products.plot(ada, number, 1).is_active
    assert not products.plot(ada, number, 0).is_active
    assert products.results(ada, number) == {"chisq": 1.5, "bad": None}
    assert products.results_file(ada, number).name == "analysis_FL1.json"
    drawn = json.loads(products.posterior(ada, number).data)
    assert list(drawn["models"]["salt3"]) == ["t0", "x1", "fixed"]
    assert drawn["models"]["salt3"]["t0"] == SENT["posterior_samples"]["t0"]
    curves = json.loads(products.light_curves(ada, number).data)
    assert curves == {"models": {"salt3": SENT["model_lightcurve"]}}
    whole = products.posterior(ada, number, complete=True)
    assert whole.name.endswith(".npz")
    for file in (products.plot(ada, number), whole):
        assert file.sha256 == hashlib.sha256(file.data).hexdigest()


def test_on_both_databases(either_world, tmp_path):
    world = World(either_world, tmp_path)
    world.send(SENT)
    assert world.products.results(world.ada, world.number)["chisq"] == 1.5
    assert world.products.corner(world.ada, world.number).media_type == "image/png"
    assert len(world.rows(AnalysisFileKind.CORNER)) == 1
    with either_world.database.begin() as session:
        keys = world.files.keys_of(session, [world.number])
        session.delete(session.get_one(Analysis, world.number))
    world.files.remove(keys)
    assert world.rows() == world.keys() == []


def test_data_are_told_as_they_were_sent(sent):
    data = sent.products.data(sent.ada, sent.number)
    assert data["results"] == SENT["results"]
    assert data["plots"] == [
        {"format": "png", "type": "png", "data": b64(png()), "title": "fit"},
        {"format": "svg", "type": "svg", "data": b64(SVG)},
    ]
    assert data["posterior_samples"] == SENT["posterior_samples"]
    assert data["model_lightcurve"] == SENT["model_lightcurve"]
    assert (data["model_name"], data["n_detections"]) == ("salt3", 12)


def test_joblib_and_several_models_are_told_as_they_were_sent(here):
    written = io.BytesIO()
    joblib.dump({"x": np.arange(3)}, written, compress=3)
    several = {"a": {"t": [1.0, 2.0]}, "b": {"t": [3.0]}}
    curves = {"a": {"g": [[1.0, 2.0, 3.0, 4.0]]}, "b": {"r": []}}
    here.send(
        {
            "results": {"format": "joblib", "data": b64(written.getvalue())},
            "posteriors": several,
            "model_lightcurves": curves,
        }
    )
    data = here.products.data(here.ada, here.number)
    loaded = joblib.load(io.BytesIO(base64.b64decode(data["results"]["data"])))
    assert loaded["x"].tolist() == [0, 1, 2]
    assert data["posteriors"] == several
    assert data["model_lightcurves"] == curves
    assert here.products.results(here.ada, here.number) == {"x": [0, 1, 2]}


def test_a_run_without_results(here):
    ada, number, products = here.ada, here.number, here.products
    assert products.data(ada, number) == {}
    for ask, message in (
        (products.plot, "No plot data found for this Analysis."),
        (products.results, "No data found for this Analysis."),
        (products.corner, "No posterior data found for this Analysis."),
        (products.light_curves, "No light curves data found for this Analysis."),
        (products.inference_data, "No inference data data found for this Analysis."),
    ):
        with pytest.raises(ProductMissing) as told:
            ask(ada, number)
        assert told.value.message == message


def test_upstreams_words_for_a_plot_that_is_not_there(sent):
    with pytest.raises(ProductMissing) as told:
        sent.products.plot(sent.ada, sent.number, 2)
    assert told.value.message == (
        "Invalid plot number. There are 2 plots available for this analysis"
    )
    other = sent.run()
    sent.send({"plots": SENT["plots"][:1]}, other)
    with pytest.raises(ProductMissing) as told:
        sent.products.plot(sent.ada, other, 1)
    assert told.value.message == "Invalid plot number. There is 1 plot available for this analysis"
    with pytest.raises(ProductMissing, match="No results data"):
        sent.products.results(sent.ada, other)


ASKED = ("plot", "results", "results_file", "posterior", "light_curves", "corner", "data")


@pytest.mark.parametrize("what", ASKED)
def test_who_may_not_see_the_run_finds_none(sent, what, monkeypatch):
    ask = getattr(sent.products, what)
    if what == "corner":  # drawing takes seconds, and is not what is looked at here
        monkeypatch.setattr(
            "firstlight.services.analyses.corner_plots.CornerPlots.plot",
            lambda self, posterior, options: (png(), ""),
        )
    ask(sent.world.viewer("cy"), sent.number)
    for stranger in ("bob", None):
        with pytest.raises(AnalysisMissing):
            ask(sent.world.viewer(stranger), sent.number)
    with pytest.raises(AnalysisMissing):
        ask(sent.ada, sent.number, obj_id="OF_B")
    ask(sent.ada, sent.number, obj_id="FL1")
    for number in (0, -1, sent.number + 1, 10**12):
        with pytest.raises(AnalysisMissing):
            ask(sent.ada, number)


def test_who_may_not_see_the_object_finds_none(sent):
    from firstlight.models.audience import audience_of  # noqa: PLC0415, only here
    from firstlight.models.object import Object  # noqa: PLC0415, only here

    with sent.world.database.begin() as session:
        thing = session.scalar(select(Object).where(Object.name == "FL1"))
        thing.audience_id = audience_of(session, groups=[sent.world.groups["B"]])
    with pytest.raises(AnalysisMissing):
        sent.products.plot(sent.ada, sent.number)


def test_a_corner_plot_is_drawn_once_and_kept(sent, monkeypatch):
    made = sent.products.corner(sent.ada, sent.number, {"bins": "15", "var_names": "t0,x1"})
    with Image.open(io.BytesIO(made.data)) as drawn:
        assert drawn.format == "PNG"
        assert drawn.width > 500
    assert made.sha256 == hashlib.sha256(made.data).hexdigest()
    assert [row.sha256 for row in sent.rows(AnalysisFileKind.CORNER)] == [made.sha256]
    monkeypatch.setattr("subprocess.Popen", None)
    again = sent.products.corner(sent.ada, sent.number, {"var_names": ["t0", "x1"], "bins": 15})
    assert again == made
    with pytest.raises(TypeError):  # another one would have to be drawn
        sent.products.corner(sent.ada, sent.number, {"bins": 16})


@pytest.mark.slow
def test_options_change_the_plot(sent):
    options = [
        {},
        {"var_names": ["x1"]},
        {"color": "red", "truths": [59000, None, None], "quantiles": [0.16, 0.5]},
        {"labels": ["$t_0$", "x", "f"], "smooth": 1, "levels": [0.5], "plot_datapoints": False},
    ]
    made = {sent.products.corner(sent.ada, sent.number, each).sha256 for each in options}
    assert len(made) == len(options)


@pytest.mark.parametrize(
    "options",
    [
        {"model": "other"},
        {"labels": ["$\\frac{$", "b", "c"]},
        pytest.param({"var_names": ["y"]}, marks=pytest.mark.slow),
        pytest.param({"labels": ["one"]}, marks=pytest.mark.slow),
        pytest.param({"truths": [1]}, marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_drawn_is_told(sent, options):
    with pytest.raises(CornerFailed) as told:
        sent.products.corner(sent.ada, sent.number, options)
    assert told.value.code == "analysis.corner_failed"
    assert told.value.found
    assert sent.rows(AnalysisFileKind.CORNER) == []


def test_unknown_options_are_refused(sent):
    with pytest.raises(InvalidInput):
        sent.products.corner(sent.ada, sent.number, {"fig": "x"})


def test_too_few_samples_make_no_corner(here):
    here.send({"posterior_samples": {"a": [1, 2], "b": [1, 2]}})
    with pytest.raises(CornerFailed, match="cannot be drawn") as told:
        here.products.corner(here.ada, here.number)
    assert "2 samples are too few for 2 parameters" in told.value.found


def test_files_that_have_changed_or_gone_are_not_given_out(sent):
    row = sent.rows(AnalysisFileKind.PLOT)[0]
    sent.world.store.put(row.key, b"another", overwrite=True)
    with pytest.raises(ResultFileDamaged):
        sent.products.plot(sent.ada, sent.number)
    sent.world.store.delete(row.key)
    with pytest.raises(ResultFileMissing):
        sent.products.plot(sent.ada, sent.number)


def test_results_that_are_kept_twice_do_not_meet(here):
    product = Product(AnalysisFileKind.PLOT, 0, "", "image/png", png())
    one, other = (here.files.keep(here.number, [product]) for _ in range(2))
    assert one[0].key != other[0].key
    here.files.discard(other)
    assert here.keys() == [one[0].key]
    assert here.files.read(one[0]) == png()
    here.files.discard(other)  # a second time is no error


def test_what_cannot_all_be_kept_is_not_kept_at_all(here):
    def products():
        yield Product(AnalysisFileKind.PLOT, 0, "", "image/png", png())
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        here.files.keep(here.number, products())
    assert here.keys() == []


def test_large_files_come_in_pieces_and_are_checked_before(here):
    samples = np.arange(600_000.0)
    here.send({"posterior_samples": {"a": samples.tolist()}})
    file = here.products.posterior(here.ada, here.number, complete=True)
    pieces = list(file.data)
    assert max(map(len, pieces)) <= 1 << 18
    assert hashlib.sha256(b"".join(pieces)).hexdigest() == file.sha256
    assert np.array_equal(unpack(b"".join(pieces))["model"].values[0], samples)
    row = next(row for row in here.rows(AnalysisFileKind.POSTERIOR) if not row.name)
    here.world.store.put(row.key, b"another", overwrite=True)
    with pytest.raises(ResultFileDamaged):
        here.products.posterior(here.ada, here.number, complete=True)
    here.world.store.delete(row.key)
    with pytest.raises(ResultFileMissing):
        here.products.posterior(here.ada, here.number, complete=True)


def test_large_posteriors_are_told_thinned(here):
    here.send({"posterior_samples": {"a": list(range(300_000))}})
    data = here.products.data(here.ada, here.number)
    assert len(data["posterior_samples"]["a"]) == 5000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*ArviZ is undergoing a major refactor:FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:xarray")
def test_what_a_service_of_today_sends_comes_back_to_its_user(here, tmp_path):
    arviz = pytest.importorskip("arviz")
    sncosmo = pytest.importorskip("sncosmo")
    fit = sncosmo.utils.Result(
        success=True, chisq=np.float64(12.5), ndof=14, parameters=np.array([0.05, 59000.5])
    )
    fit.update(source="nugent-sn2p", fix_z=True)
    written = io.BytesIO()
    joblib.dump(fit, written)
    path = tmp_path / "sent.nc"
    mu = RNG.normal(size=(4, 250))
    arviz.from_dict(posterior={"mu": mu}).to_netcdf(str(path))
    here.send(
        {
            "inference_data": {"format": "netcdf4", "data": b64(path.read_bytes())},
            "plots": [{"format": "png", "data": b64(png())}],
            "results": {"format": "joblib", "data": b64(written.getvalue())},
        }
    )
    data = here.products.data(here.ada, here.number)
    back = tmp_path / "tmp.nc"
    back.write_bytes(base64.b64decode(data["inference_data"]["data"]))
    inference_data = arviz.from_netcdf(str(back))
    assert np.array_equal(inference_data.posterior["mu"].to_numpy(), mu)
    inference_data.close()
    for number, plot in enumerate(data["plots"]):
        with Image.open(io.BytesIO(base64.b64decode(plot["data"]))) as shown:
            assert shown.format.lower() == plot["type"], number
    loaded = joblib.load(io.BytesIO(base64.b64decode(data["results"]["data"])))
    assert type(loaded) is sncosmo.utils.Result
    assert loaded["parameters"].tolist() == [0.05, 59000.5]
    assert here.products.results(here.ada, here.number)["source"] == "nugent-sn2p"
    drawn = json.loads(here.products.posterior(here.ada, here.number).data)
    assert drawn["models"]["posterior"]["mu"] == mu.ravel().tolist()
