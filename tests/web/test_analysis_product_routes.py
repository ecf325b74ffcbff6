"""Products of analyses over HTTP: right types, nothing that runs, nothing for strangers."""

import base64
import io
import json
import uuid

import pytest
from PIL import Image

from firstlight.models.account import Group, User
from firstlight.models.analysis import Analysis
from firstlight.models.audience import audience_of
from firstlight.models.object import Object
from firstlight.models.sky_search import place
from firstlight.services.access import operator
from firstlight.services.accounts.membership import admit, new_account
from firstlight.services.analyses.result_files import ResultFiles
from firstlight.services.analyses.submissions import SubmissionReader

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def png():
    written = io.BytesIO()
    Image.new("RGB", (3, 2)).save(written, "png")
    return written.getvalue()


def b64(data):
    return base64.b64encode(data).decode()


SENT = {
    "results": {"format": "json", "data": {"chisq": 1.5, "bad": None}},
    "plots": [{"data": b64(png())}, {"data": b64(SVG)}, {"data": b64(b"%PDF-1.5 x")}],
    "posterior_samples": {"t0": [each / 7 for each in range(100)], "x1": list(range(100))},
    "model_lightcurves": {"salt3": {"ztfg": [[59000.0, 1.0, 0.5, 1.5]]}},
}


@pytest.fixture
def run(client, database, store, tmp_path):
    """A run on the object 12345, in ada's group; and the headers that ada and bob send."""
    with database.begin() as session:
        people = {
            name: new_account(session, User(username=name, affiliations=[], roles=[], acls=[]))
            for name in ("ada", "bob")
        }
        group = Group(name="hers")
        session.add(group)
        session.flush()
        admit(session, group.id, people["ada"])
        audience = audience_of(session, groups=[group.id])
        thing = Object(id=uuid.uuid4(), name="12345", origin="test", audience_id=audience)
        place(thing, 10.0, 20.0)
        session.add(thing)
        session.flush()
        made = Analysis(
            key=uuid.uuid4(),
            object_id=thing.id,
            service_name="fitter",
            owner_id=people["ada"],
            audience_id=audience,
            status="completed",
        )
        session.add(made)
        session.flush()
        number = made.id
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"status": "success", "analysis": SENT}))
    with SubmissionReader().read(body) as found, database.begin() as session:
        session.get_one(Analysis, number).facts = found.facts
        files = ResultFiles(store=store)
        files.save(session, files.keep(number, found.products))
    tokens = client.services.user_tokens
    made = {
        name: tokens.make(operator(), "x", ["read"], user_id=each) for name, each in people.items()
    }
    return number, {name: {"Authorization": f"token {each.token}"} for name, each in made.items()}


@pytest.fixture
def get(client, run):
    """Ask for a product of the run, by both of its addresses."""
    number, headers = run

    def asked(what, who="ada", *, of_object=False, **options):
        place = "/api/obj/12345/analysis" if of_object else "/api/obj/analysis"
        sent = {**headers.get(who, {}), **options.pop("headers", {})}
        return client.request("GET", f"{place}/{number}/{what}", headers=sent, **options)

    return asked


@pytest.mark.parametrize("of_object", [False, True])
@pytest.mark.parametrize("what", ["plots", "plots/0"])
def test_a_picture_is_shown(get, what, of_object):
    answer = get(what, of_object=of_object)
    assert answer.status_code == 200
    assert answer.content == png()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "inline"
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = get(what, of_object=of_object, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("number", "kind", "suffix"), [(1, "image/svg+xml", "svg"), (2, "application/pdf", "pdf")]
)
def test_what_could_run_is_saved_and_never_a_page(get, number, kind, suffix):
    answer = get(f"plots/{number}")
    assert answer.headers["content-type"] == kind
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert f"_plot_{number}.{suffix}" in answer.headers["content-disposition"]
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_plot_that_is_not_there(get):
    answer = get("plots/3")
    assert answer.status_code == 404
    assert answer.json()["message"] == (
        "Invalid plot number. There are 3 plots available for this analysis"
    )


@pytest.mark.parametrize("of_object", [False, True])
def test_results_in_the_envelope_or_as_a_file(get, of_object):
    answer = get("results", of_object=of_object)
    assert answer.json()["data"] == SENT["results"]["data"]
    assert answer.json()["status"] == "success"
    file = get("results", of_object=of_object, params={"download": "true"})
    assert json.loads(file.content) == SENT["results"]["data"]
    assert 'filename="analysis_12345.json"' in file.headers["content-disposition"]


@pytest.mark.parametrize("of_object", [False, True])
def test_posterior_and_light_curves(get, of_object):
    found = get("posterior", of_object=of_object).json()["data"]
    assert found["models"] == {"model": SENT["posterior_samples"]}
    assert found["drawn_of"] == {"model": 100}
    whole = get("posterior", of_object=of_object, params={"whole": "true"})
    assert whole.headers["content-type"] == "application/x-npz"
    assert whole.headers["content-disposition"].startswith("attachment")
    curves = get("lightcurves", of_object=of_object).json()["data"]
    assert curves == {"models": SENT["model_lightcurves"]}


def test_large_files_are_streamed(get, monkeypatch):
    monkeypatch.setattr("firstlight.services.analyses.analysis_products._LARGE", 10)
    results = get("results")
    assert results.json()["data"] == SENT["results"]["data"]
    assert results.json()["status"] == "success"
    assert get("plots/0").content == png()
    file = get("results", params={"download": "true"})
    assert json.loads(file.content) == SENT["results"]["data"]
    kept = {"If-None-Match": results.headers["etag"]}
    assert get("results", headers=kept).status_code == 304


def test_a_corner_plot_takes_keywords_from_query_and_body(get, monkeypatch):
    asked = []

    def drawn(self, posterior, options):
        asked.append(options)
        return png(), "0" * 64

    monkeypatch.setattr("firstlight.services.analyses.corner_plots.CornerPlots.plot", drawn)
    for options in (
        {},
        {"params": {"bins": "30", "quantiles": "0.16,0.84"}},
        {"json": {"bins": 30}},
        {"json": {"plot_kwargs": {"bins": 30}}},
        {"params": {"plot_kwargs": '{"bins": 30}'}},
        {"params": {"bins": "20", "color": "red"}, "json": {"bins": 30}},
    ):
        answer = get("corner", **options)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
    assert asked == [
        {},
        {"bins": "30", "quantiles": "0.16,0.84"},
        {"bins": 30},
        {"bins": 30},
        {"bins": 30},
        {"bins": 30, "color": "red"},
    ]
    assert get("corner", of_object=True).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"params": {"fig": "x"}},
        {"params": {"bins": "x"}},
        {"content": b"{"},
        {"content": b"[1]"},
        {"content": b"[" * 50_000},
        {"json": {"plot_kwargs": 5}},
        {"params": {"plot_kwargs": "{"}},
        {"content": b" " * 70_000},
    ],
)
def test_keywords_that_are_wrong_are_told(get, options):
    answer = get("corner", **options)
    assert answer.status_code == 400
    assert answer.json()["data"]["code"] == "input.invalid"


@pytest.mark.slow
def test_a_corner_plot_is_drawn(get):
    answer = get("corner", params={"bins": "10"})
    with Image.open(io.BytesIO(answer.content)) as drawn:
        assert drawn.format == "PNG"
    again = get("corner", params={"bins": "10"}, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


WHAT = ["plots", "plots/0", "results", "posterior", "lightcurves", "corner", "inference_data"]


@pytest.mark.parametrize("what", WHAT)
def test_strangers_find_nothing(get, what):
    for who in ("bob", "nobody"):
        answer = get(what, who)
        assert answer.status_code == 404
        assert answer.json()["data"]["code"] == "analysis.missing"
        assert answer.json() == get(what, who).json()


def test_a_run_of_another_object_is_missing(client, run):
    number, headers = run
    answer = client.request(
        "GET", f"/api/obj/other/analysis/{number}/plots/0", headers=headers["ada"]
    )
    assert answer.status_code == 404


def test_the_models_that_are_drawn_over_a_light_curve(client, run):
    number, headers = run

    def models(who="ada", **options):
        return client.get("/objects/12345/models.json", headers=headers[who], **options)

    (found,) = models().json()["data"]
    assert (found["id"], found["name"], found["shown"]) == (number, f"fitter {number}", True)
    assert models(params={"run": number}).json()["data"] == [found]
    assert models(params={"run": number + 1}).json()["data"] == []
    assert models("bob").status_code == 404
