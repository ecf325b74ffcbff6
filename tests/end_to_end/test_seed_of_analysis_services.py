"""The document of analysis services, line by line, by a program that knows nothing else.

What differs from its text: commas and brackets that it forgets, addresses and numbers of groups
of this test, and ``joblib.load``, which wants a stream and gets bytes there.
"""

# ruff: noqa: S113, the programs of the document set no time limits

import base64
import io
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import requests
from house import COMMAND, make_house
from outside_service import RRLyraeFitter, netcdf, serving
from PIL import Image

from firstlight.factory import Factory
from firstlight.services.access import operator
from firstlight.services.accounts.users import NewUser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning:arviz"),
]
SETTINGS = """
[outgoing]
allow = ["127.0.0.1"]

[web]
open_on_loopback = false
"""
WAIT_S = 90.0


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    """`firstlight serve` as an operator starts it, and an astronomer's token."""
    house = make_house(tmp_path_factory.mktemp("seed") / "workspace", settings=SETTINGS)
    factory = Factory.open(house.folder)
    roles = ["Super admin"]
    number = factory.users.create(operator(), NewUser(username="ada", roles=roles))
    token = factory.user_tokens.make(operator(), "of ada", ["admin"], user_id=number).token
    with ExitStack() as stack:
        log = stack.enter_context((house.folder.parent / "serve.log").open("w+"))
        running = subprocess.Popen(
            house.command("serve", "--port", "0", "--workers", "1"),
            stdout=log, stderr=subprocess.STDOUT, env=house.environment, text=True,
        )  # fmt: skip
        try:
            address = _address(Path(log.name), running)
            yield SimpleNamespace(
                address=address, header={"Authorization": f"token {token}"}, factory=factory
            )
        finally:
            running.terminate()
            running.wait(60)
            factory.database.dispose()
    assert token not in (house.folder.parent / "serve.log").read_text()


def _address(log, running):
    end = time.monotonic() + 120
    while time.monotonic() < end and running.poll() is None:
        for word in log.read_text().split():
            if word.startswith("http://"):
                return word.rstrip("/")
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def objects(portal):
    """The objects of the document, with photometry."""
    base, header = f"{portal.address}/api", portal.header
    groups = [_data(requests.post(f"{base}/groups", headers=header, json={"name": name}))["id"]
              for name in ("two", "four", "nine")]  # fmt: skip
    telescope = _data(requests.post(f"{base}/telescope", headers=header, json={
        "name": "Palomar 1.2m", "nickname": "P48", "diameter": 1.2, "lat": 33.36, "lon": -116.9,
        "elevation": 1870}))["id"]  # fmt: skip
    camera = _data(requests.post(f"{base}/instrument", headers=header, json={
        "name": "ZTF", "type": "imager", "band": "optical", "telescope_id": telescope,
        "filters": ["ztfg", "ztfr"]}))["id"]  # fmt: skip
    for name, redshift in (("MySourceName", None), ("ZTF21aaqjmps", 0.034)):
        body = {"id": name, "ra": 234.22, "dec": -22.33, "group_ids": groups}
        body |= {} if redshift is None else {"redshift": redshift}
        _data(requests.post(f"{base}/sources", headers=header, json=body))
        mjd = np.arange(59300.0, 59390.0, 2.5)
        phase = (mjd - 59325.0) / 12.0
        flux = 400.0 * np.exp(-phase / 3) / (1 + np.exp(-2.0 * phase - 2))
        _data(requests.post(f"{base}/photometry", headers=header, json={
            "obj_id": name, "instrument_id": camera, "mjd": [*mjd, *(mjd + 0.02)],
            "flux": [*flux, *(0.8 * flux)], "fluxerr": [10.0] * (2 * len(mjd)), "zp": 23.9,
            "magsys": "ab", "filter": ["ztfg"] * len(mjd) + ["ztfr"] * len(mjd),
            "group_ids": groups}))  # fmt: skip
    return SimpleNamespace(groups=groups, points=2 * len(mjd))


def _data(answer):
    assert answer.status_code == 200, answer.text[:2000]
    return answer.json()["data"]


def _ended(portal, number):
    """Wait for the end of a run."""
    url = f"{portal.address}/api/obj/analysis/{number}"
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        facts = _data(requests.get(url, headers=portal.header))
        if facts["status"] not in ("queued", "pending"):
            return facts
        time.sleep(0.1)
    raise AssertionError(f"still {facts['status']}: {facts}")


@pytest.fixture(scope="module")
def fitter():
    return RRLyraeFitter()


@pytest.fixture(scope="module")
def service(portal, objects, fitter):
    """Creating a new Analysis Service."""
    with serving(fitter) as service_url:
        payload = {
            "name": "My Awesome RR Lyrae Fitter",
            "display_name": "My display name",
            "description": "We fit RRLyrae to templates",
            "version": "1.0",
            "contact_name": "I. M. Astronomer",
            "url": service_url,
            "authentication_type": "header_token",
            "_authinfo": '{"header_token": {"Authorization": "Bearer MY_TOKEN"}}',
            "analysis_type": "lightcurve_fitting",
            "input_data_types": ["photometry", "redshift"],
            "upload_only": False,
            "optional_analysis_parameters": '{"rrl_type": ["ab", "c", "d", "e"]}',
            "timeout": 60,
            "group_ids": objects.groups,
        }
        header = portal.header
        url = f"{portal.address}/api/analysis_service"
        r = requests.post(url, headers=header, json=payload)
        analysis_id = r.json()["data"]["id"]
        yield analysis_id


@pytest.fixture(scope="module")
def finished(portal, service, fitter):
    """Starting a new Analysis (webhook approach), and its end."""
    header = portal.header
    source_id, analysis_id = "MySourceName", service
    url = f"{portal.address}/api/obj/{source_id}/analysis/{analysis_id}"
    r = requests.post(url, headers=header, json={"analysis_parameters": {"rrl_type": "ab"}})
    assert r.status_code == 200, r.text
    return _ended(portal, r.json()["data"]["id"])


def test_a_service_is_read_and_changed_and_its_secret_stays(portal, service):
    url = f"{portal.address}/api/analysis_service/{service}"
    facts = _data(requests.get(url, headers=portal.header))
    assert facts["display_name"] == "My display name"
    assert facts["version"] == "1.0"
    assert facts["timeout"] == 60
    assert "MY_TOKEN" not in requests.get(url, headers=portal.header).text
    changed = requests.patch(url, headers=portal.header, json={"version": "1.1"})
    assert changed.status_code == 200
    assert _data(requests.get(url, headers=portal.header))["version"] == "1.1"


def test_the_service_is_sent_the_data_and_where_to_call_back(finished, fitter, objects):
    headers, asked = fitter.requests[0]
    assert headers["Authorization"] == "Bearer MY_TOKEN"
    assert asked["callback_method"] == "POST"
    assert "/api/webhook/obj_analysis/" in asked["callback_url"]
    assert asked["resource_id"] == "MySourceName"
    assert asked["inputs"]["analysis_parameters"] == {"rrl_type": "ab"}
    lines = asked["inputs"]["photometry"].strip().splitlines()
    assert len(lines) == objects.points + 1
    assert "redshift" in asked["inputs"]
    assert finished["status"] == "completed"
    # The portal knows the end a moment before its answer has come to the service.
    deadline = time.monotonic() + 90
    while not fitter.answers and time.monotonic() < deadline:
        time.sleep(0.05)
    assert fitter.answers[0].json()["status"] == "success"
    assert finished["status_message"] == f"fitted {objects.points} points"


def test_a_valid_post_invalidates_the_token(finished, fitter, portal):
    _, asked = fitter.requests[0]
    again = requests.post(
        asked["callback_url"], json={"status": "success", "message": "forged", "analysis": {}}
    )
    assert again.status_code == 403
    url = f"{portal.address}/api/obj/analysis/{finished['id']}"
    facts = requests.get(url, headers=portal.header)
    assert facts.json()["data"]["status_message"] != "forged"
    assert asked["callback_url"].rpartition("/")[2] not in facts.text


def test_stored_data_are_retrieved(portal, finished, objects, tmp_path):
    import arviz  # noqa: PLC0415, it warns of its future when it is imported

    url = f"{portal.address}/api/obj/analysis/{finished['id']}?includeAnalysisData=True"
    r = requests.get(url, headers=portal.header)
    data = r.json()

    with (tmp_path / "tmp.nc").open("wb") as f:
        f.write(base64.b64decode(data["analysis"]["inference_data"]["data"]))
    inference_data = arviz.from_netcdf(str(tmp_path / "tmp.nc"))
    assert float(inference_data.posterior["period"].mean()) == pytest.approx(0.56, abs=1e-4)

    for i, plot in enumerate(data["analysis"]["plots"]):
        path = tmp_path / f"tmp_{i}.{plot['type']}"
        path.write_bytes(base64.b64decode(plot["data"]))
        with Image.open(path) as picture:
            assert picture.size == (400, 300)
    assert i == 0

    results = joblib.load(io.BytesIO(base64.b64decode(data["analysis"]["results"]["data"])))
    assert results["n_points"] == objects.points
    # As today's SkyPortal has it.
    assert data["data"]["data"].keys() >= {"inference_data", "plots", "results"}


def test_products_are_got_one_by_one(portal, finished, objects, tmp_path):
    base, header = f"{portal.address}/api/obj/analysis/{finished['id']}", portal.header
    r = requests.get(f"{base}/plots/0", headers=header, stream=True)
    assert r.status_code == 200
    with (tmp_path / "img.png").open("wb") as out_file:
        shutil.copyfileobj(r.raw, out_file)
    with Image.open(tmp_path / "img.png") as picture:
        assert picture.format == "PNG"
    assert requests.get(f"{base}/plots/1", headers=header).status_code == 404

    plain = requests.get(f"{base}/corner", headers=header)
    titled = requests.get(f"{base}/corner", headers=header, json={"show_titles": True, "bins": 15})
    for each in (plain, titled):
        assert each.status_code == 200, each.text[:500]
        with Image.open(io.BytesIO(each.content)) as picture:
            assert min(picture.size) > 200
    assert plain.content != titled.content

    results = _data(requests.get(f"{base}/results", headers=header))
    assert results["kind"] == "ab"
    assert len(results["fluxes"]) == objects.points


def test_an_analysis_is_uploaded(portal, objects):
    header = portal.header
    made = requests.post(f"{portal.address}/api/analysis_service", headers=header, json={
        "name": "jsbFitter", "display_name": "jsbFitter", "url": "http://nowhere.example.org/",
        "authentication_type": "none", "analysis_type": "meta_analysis", "upload_only": True,
        "group_ids": objects.groups})  # fmt: skip
    service_id = _data(made)["id"]
    posterior = {"p": np.random.default_rng(2).normal(0, 1, (2, 100))}
    params = {
        "status": "success",
        "message": "Ran this on my machine",
        "show_parameters": True,
        "analysis": {
            "plots": [],
            "inference_data": base64.b64encode(netcdf(posterior)).decode(),
            "results": {
                "format": "json",
                "data": {
                    "external_provenance": {
                        "hash": "23baef56",
                        "spectrum_ids": [34, 68, 125],
                        "model": "jsbFitter23",
                    },
                    "classification": "DY Per",
                    "classification_proba": 0.94,
                },
            },
        },
    }
    url = f"{portal.address}/api/obj/MySourceName/analysis_upload/{service_id}"
    r = requests.post(url, headers=header, json=params)
    number = _data(r)["id"]
    base = f"{portal.address}/api/obj/analysis/{number}"
    assert _data(requests.get(base, headers=header))["status"] == "completed"
    results = _data(requests.get(f"{base}/results", headers=header))
    assert results == params["analysis"]["results"]["data"]
    assert requests.get(f"{base}/corner", headers=header).status_code == 200
    # What is called is not uploaded to, and the other way round.
    called = f"{portal.address}/api/obj/MySourceName/analysis/{service_id}"
    refused = requests.post(called, headers=header, json={})
    assert refused.status_code == 403
    assert "upload_only" in refused.json()["message"]


def test_the_supernova_fitter_that_ships(portal, objects):
    register = [*COMMAND, "-w", str(portal.factory.workspace), "analysis", "add-shipped"]
    subprocess.run(register, check=True, capture_output=True)
    header = portal.header
    rows = _data(requests.get(f"{portal.address}/api/analysis_service", headers=header))
    number = next(each["id"] for each in rows if each["name"] == "supernova")
    url = f"{portal.address}/api/obj/ZTF21aaqjmps/analysis/{number}"
    params = {"url_parameters": {"source": "nugent-sn2p"}}
    r = requests.post(url, headers=header, json=params)
    assert r.status_code == 200, r.text
    facts = _ended(portal, r.json()["data"]["id"])
    assert facts["status"] == "completed", facts

    url = f"{portal.address}/api/obj/analysis/{facts['id']}?includeAnalysisData=True"
    r = requests.get(url, headers=header)
    data = r.json()
    assert data["analysis"]["plots"]
    assert data["analysis"]["results"]["data"]
    assert requests.get(
        f"{portal.address}/api/obj/analysis/{facts['id']}/corner", headers=header
    ).content.startswith(b"\x89PNG")


def test_analyses_and_services_are_deleted(portal, service, finished):
    header = portal.header
    url = f"{portal.address}/api/obj/analysis/{finished['id']}"
    assert requests.delete(url, headers=header).status_code == 200
    assert requests.get(url, headers=header).status_code in (403, 404)
    assert requests.get(f"{url}/plots/0", headers=header).status_code in (403, 404)
    url = f"{portal.address}/api/analysis_service/{service}"
    assert requests.delete(url, headers=header).status_code == 200
    assert requests.get(url, headers=header).status_code in (403, 404)
