"""The analysis calls of SkyPortal's own client, and of `requests`, against a running server."""

import base64
import io
import json
import zlib
from contextlib import ExitStack
from types import SimpleNamespace

import httpx
import pytest
import skyportal_py
from PIL import Image
from skyportal_py import SkyPortalError
from skyportal_py.analysis import (
    AnalysisPost,
    AnalysisServicePost,
    AnalysisServiceUpdate,
    AnalysisUploadPost,
    DefaultAnalysisPost,
)
from skyportal_py.classifications import ClassificationPost
from skyportal_py.groups import GroupPost
from skyportal_py.sources import SourcePost
from skyportal_py.taxonomies import TaxonomyPost

from fixtures_postgres import new_database
from portal_world import make_portal, on_a_port

HIERARCHY = {"class": "Time-domain Source", "subclasses": [{"class": "SN Ia"}]}
ALL = ["analyse", "classify", "manage_services", "manage_taxonomies", "read", "upload"]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def server(request, tmp_path_factory):
    """A manager of services, a user and a reader in one group, one beside it; a running server."""
    folder = tmp_path_factory.mktemp("portal") / "workspace"
    with ExitStack() as stack:
        url = None
        if request.param == "postgres":
            url = stack.enter_context(new_database(request.getfixturevalue("postgres_server")))
        portal = make_portal(folder, url)
        portal.add_user("root", roles=["Super admin"], scopes=["admin"])
        portal.add_user("mia", roles=["Group admin"], scopes=ALL)
        portal.add_user("ada", roles=["Full user"], scopes=["upload", "analyse", "classify"])
        portal.add_user("cy", roles=["View only"], scopes=["read"])
        portal.add_user("eve", roles=["Group admin"], scopes=ALL)
        address = stack.enter_context(on_a_port(portal.app))
        clients = {
            name: stack.enter_context(skyportal_py.create_client(address, portal.tokens.get(name)))
            for name in (*portal.users, "stranger")
        }
        group = clients["root"].post_group(GroupPost(name="observers")).id
        for name in ("mia", "ada", "cy"):
            clients["root"].post_group_user(group, portal.users[name])
        yield SimpleNamespace(portal=portal, address=address, group=group, **clients)
        portal.factory.database.dispose()


@pytest.fixture
def named(request):
    return f"t{zlib.crc32(request.node.name.encode())}"


@pytest.fixture
def source(server, named):
    name = f"J{named}+56.7"
    posted = SourcePost(id=name, ra=10.5, dec=-3.25, group_ids=[server.group])
    server.mia.post_source(posted)
    return name


@pytest.fixture
def post(server, named):
    """What registers a service."""

    def made(**fields):
        given = {
            "name": f"service {named}",
            "url": "https://analysis.example:6801/analysis",
            "authentication_type": "none",
            "analysis_type": "lightcurve_fitting",
            "input_data_types": ["photometry", "redshift"],
            "group_ids": [server.group],
            **fields,
        }
        return AnalysisServicePost(**given)

    return made


def status(call, *args, **options):
    with pytest.raises(SkyPortalError) as fault:
        call(*args, **options)
    return fault.value.status_code


def raw(server, name, method, path, **options):
    headers = server.portal.headers(name)
    return httpx.request(method, server.address + path, headers=headers, timeout=60, **options)


def png():
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def test_the_life_of_a_service(server, post):
    info = json.dumps({"header_token": {"Authorization": "Bearer MY_TOKEN"}})
    made = server.mia.post_analysis_service(
        post(
            display_name="test service name",
            description="A test",
            version="1.0",
            contact_name="Vera Rubin",
            contact_email="vr@ls.st",
            optional_analysis_parameters=json.dumps({"a": ["1", "2"], "b": {"type": "number"}}),
            authentication_type="header_token",
            authinfo=info,
            timeout=60.0,
        )
    )
    found = server.cy.fetch_analysis_service(made.id)
    assert found.optional_analysis_parameters == {"a": ["1", "2"], "b": {"type": "number"}}
    assert (found.display_name, found.timeout, found.enabled) == ("test service name", 60.0, True)
    assert [each.id for each in found.groups] == [server.group]
    assert made.id in [each.id for each in server.ada.fetch_analysis_services()]
    assert made.id not in [each.id for each in server.eve.fetch_analysis_services()]
    answer = raw(server, "mia", "GET", f"/api/analysis_service/{made.id}?includeDetails=true")
    assert "MY_TOKEN" not in answer.text
    assert answer.json()["data"]["has_authinfo"] is True
    with pytest.raises(SkyPortalError, match="Analysis Service with that name already exists"):
        server.mia.post_analysis_service(post())
    server.mia.update_analysis_service(
        made.id, AnalysisServiceUpdate(display_name="new", authinfo=json.loads(info), enabled=False)
    )
    assert server.mia.fetch_analysis_service(made.id).display_name == "new"
    assert server.mia.fetch_analysis_service(made.id).enabled is False
    for name in ("ada", "cy", "eve", "stranger"):
        client = getattr(server, name)
        expected = {"eve": 404, "stranger": 401}.get(name, 403)
        update = AnalysisServiceUpdate(version="9")
        assert status(client.update_analysis_service, made.id, update) == expected
        assert status(client.delete_analysis_service, made.id) == expected
    assert status(server.eve.fetch_analysis_service, made.id) == 404
    server.mia.delete_analysis_service(made.id)
    assert status(server.mia.fetch_analysis_service, made.id) == 404


def test_parameters_as_an_object_too(server, post):
    given = post().model_dump(exclude_none=True, by_alias=True)
    given |= {"optional_analysis_parameters": {"a": ["1"]}, "input_format": "json"}
    number = raw(server, "mia", "POST", "/api/analysis_service", json=given).json()["data"]["id"]
    assert server.mia.fetch_analysis_service(number).optional_analysis_parameters == {"a": ["1"]}
    server.mia.delete_analysis_service(number)


def test_the_life_of_a_run(server, post, source):
    service = server.mia.post_analysis_service(
        post(optional_analysis_parameters=json.dumps({"a": ["1", "2"]}))
    ).id
    started = server.ada.post_analysis(
        source, service, AnalysisPost(analysis_parameters={"a": "2"}, show_plots=True)
    )
    run = server.cy.fetch_analysis(started.id, include_analysis_data=True, include_filename=True)
    assert (run.obj_id, run.status, run.analysis_service_id) == (source, "queued", service)
    assert (run.author_id, run.token) == (server.portal.users["ada"], None)
    assert run.analysis_parameters == {"a": "2"}
    assert (run.show_plots, run.show_corner, run.num_plots) == (True, False, 0)
    assert run.analysis_service_name == f"service {post().name.split()[1]}"
    assert [each.id for each in run.groups] == [server.group]
    old = raw(
        server,
        "ada",
        "POST",
        f"/api/obj/{source}/analysis/{service}",
        json={"url_parameters": {"a": "1"}},
    ).json()["data"]["id"]
    assert server.ada.fetch_analysis(old).analysis_parameters == {"a": "1"}
    bare = raw(server, "ada", "POST", f"/api/obj/{source}/analysis/{service}").json()["data"]["id"]
    listed = [each.id for each in server.ada.fetch_analyses(obj_id=source)]
    assert listed == [bare, old, started.id]
    assert bare in [each.id for each in server.ada.fetch_analyses(analysis_service_id=service)]
    assert server.ada.fetch_analyses(obj_id=source[:-1]) == []
    page = raw(server, "ada", "GET", f"/api/obj/{source}/analysis?numPerPage=1&pageNumber=2")
    assert [row["id"] for row in page.json()["data"]["analyses"]] == [old]
    assert page.json()["data"]["totalMatches"] == 3
    again = raw(server, "ada", "POST", f"/api/obj/analysis/{old}/rerun").json()["data"]["id"]
    stopped = raw(server, "ada", "POST", f"/api/obj/analysis/{again}/cancel").json()["data"]
    assert stopped == {"status": "cancelled"}
    details = raw(server, "ada", "GET", f"/api/obj/analysis/{again}?includeDetails=true")
    assert details.json()["data"]["rerun_of_id"] == old
    one = raw(server, "ada", "GET", f"/api/obj/{source}/analysis/{again}").json()["data"]
    assert one["status"] == "cancelled"
    for number in (bare, old, again, started.id):
        assert status(server.cy.delete_analysis, number) == 403
        assert status(server.eve.delete_analysis, number) == 404
        server.ada.delete_analysis(number)
        assert status(server.ada.fetch_analysis, number) == 404
    server.mia.delete_analysis_service(service)


def test_runs_that_cannot_be_started(server, post, source):
    service = server.mia.post_analysis_service(post()).id
    for name, expected in (("cy", 403), ("eve", 404), ("stranger", 401)):
        assert status(getattr(server, name).post_analysis, source, service) == expected
    with pytest.raises(SkyPortalError, match="Invalid analysis_parameters"):
        server.ada.post_analysis(source, service, AnalysisPost(analysis_parameters={"b": 1}))
    wish = AnalysisPost(group_ids=[999999])
    assert status(server.ada.post_analysis, source, service, wish) == 400
    assert status(server.ada.post_analysis, "nothing", service) == 404
    assert status(server.ada.post_analysis, source, 2**31 - 1) == 404
    assert status(server.ada.fetch_analysis, 2**31 - 1) == 404
    assert raw(server, "ada", "GET", "/api/obj/nothing/analysis").status_code == 404
    assert raw(server, "ada", "GET", "/api/obj/analysis?status=magic").status_code == 400
    assert raw(server, "ada", "POST", f"/api/obj/{source}/analysis/5", json=[1]).status_code == 400
    server.mia.delete_analysis_service(service)


def test_uploaded_results(server, post, source):
    service = server.mia.post_analysis_service(post(upload_only=True)).id
    with pytest.raises(SkyPortalError, match="Please use the analysis_upload endpoint"):
        server.ada.post_analysis(source, service)
    results = {"classification": "DY Per", "classification_proba": 0.94}
    upload = AnalysisUploadPost(
        analysis={
            "results": {"format": "json", "data": results},
            "plots": [{"format": "png", "data": png()}],
        },
        message="Ran this on my machine",
        show_parameters=True,
        group_ids=[server.group],
    )
    made = server.ada.post_analysis_upload(source, service, upload)
    assert made.message == "Saved upload_only analysis data. Message: Ran this on my machine"
    run = server.cy.fetch_analysis(made.id, include_analysis_data=True)
    assert (run.status, run.status_message) == ("completed", "Ran this on my machine")
    assert (run.num_plots, run.show_parameters, run.show_corner) == (1, True, True)
    assert run.data["results"]["data"] == results
    assert server.cy.fetch_analysis_results(made.id) == results
    assert json.loads(server.cy.fetch_analysis_results(made.id, download=True)) == results
    plot = server.cy.fetch_analysis_plot(made.id)
    assert Image.open(io.BytesIO(plot)).size == (4, 4)
    # As SkyPortal's documentation reads it: beside `data`.
    path = f"/api/obj/analysis/{made.id}?includeAnalysisData=True"
    body = raw(server, "cy", "GET", path).json()
    assert base64.b64decode(body["analysis"]["plots"][0]["data"]) == plot
    empty = server.ada.post_analysis_upload(source, service, AnalysisUploadPost(message="none"))
    assert empty.message == "Note: empty analysis upload_only results. Message: none"
    failed = raw(
        server,
        "ada",
        "POST",
        f"/api/obj/{source}/analysis_upload/{service}",
        json={"status": "failure", "message": "no convergence", "analysis": {}},
    ).json()["data"]["id"]
    assert server.ada.fetch_analysis(failed).status == "failure"
    assert "/" not in made.message
    for name, expected in (("cy", 403), ("eve", 404), ("stranger", 401)):
        client = getattr(server, name)
        assert status(client.post_analysis_upload, source, service, upload) == expected
    for number in (made.id, empty.id, failed):
        server.ada.delete_analysis(number)
    server.mia.delete_analysis_service(service)


def test_uploads_that_cannot_be_taken(server, post, source):
    service = server.mia.post_analysis_service(post()).id
    with pytest.raises(SkyPortalError, match="is not of type upload_only"):
        server.ada.post_analysis_upload(source, service, AnalysisUploadPost(analysis={}))
    uploads = f"/api/obj/{source}/analysis_upload"
    none = raw(server, "ada", "POST", uploads, json={})
    assert (none.status_code, none.json()["message"]) == (400, "Invalid analysis_service_id: None")
    server.mia.delete_analysis_service(service)
    service = server.mia.post_analysis_service(post(upload_only=True)).id
    for body in (b"not JSON", b"[1]", b'{"analysis": {"plots": 5}}', b'{"analysis": {}, "x": 1}'):
        answer = raw(server, "ada", "POST", f"{uploads}/{service}", content=body)
        assert (answer.status_code, answer.json()["status"]) == (400, "error"), body
    limit = server.portal.factory.settings.analyses.max_result_bytes
    pieces = iter([b"{", *[b" " * (1 << 20)] * (limit // (1 << 20) + 1)])
    answer = raw(server, "ada", "POST", f"{uploads}/{service}", content=pieces)
    assert answer.status_code == 413
    assert server.ada.fetch_analyses(obj_id=source) == []
    server.mia.delete_analysis_service(service)


def test_what_runs_by_itself(server, post, source):
    service = server.mia.post_analysis_service(
        post(optional_analysis_parameters=json.dumps({"a": ["1", "2"]}))
    ).id
    wish = DefaultAnalysisPost(
        default_analysis_parameters={"a": "2"},
        source_filter={"classifications": [{"name": "SN Ia", "probability": 0.9}]},
        daily_limit=5,
        show_corner=False,
        group_ids=[server.group],
    )
    number = server.ada.post_default_analysis(service, wish).id
    found = server.cy.fetch_default_analysis(service, number)
    assert (found.analysis_service.id, found.author.username) == (service, "ada")
    assert found.stats["daily_limit"] == 5
    assert (found.show_plots, found.show_corner) == (True, False)
    assert [each.id for each in server.ada.fetch_default_analyses(service)] == [number]
    for name, expected in (("cy", 403), ("eve", 404), ("stranger", 401)):
        client = getattr(server, name)
        assert status(client.post_default_analysis, service, wish) == expected
        assert status(client.update_default_analysis, service, number, wish) == expected
        assert status(client.delete_default_analysis, service, number) == expected
    assert status(server.mia.delete_default_analysis, service, number) == 403
    tree = server.mia.post_taxonomy(
        TaxonomyPost(name=f"of {source}", version="1", hierarchy=HIERARCHY)
    ).taxonomy_id
    for probability in (0.5, 0.95, 0.97):
        server.mia.post_classification(
            ClassificationPost(
                obj_id=source, classification="SN Ia", taxonomy_id=tree, probability=probability
            )
        )
    [run] = server.ada.fetch_analyses(obj_id=source)
    assert (run.status, run.author_id) == ("queued", server.portal.users["ada"])
    assert run.analysis_parameters == {"a": "2"}
    assert server.ada.fetch_default_analysis(service, number).stats["daily_count"] == 1
    server.ada.update_default_analysis(service, number, DefaultAnalysisPost(daily_limit=7))
    assert server.ada.fetch_default_analysis(service, number).stats["daily_limit"] == 7
    for wrong, message in (
        ({"source_filter": {"magic": 1}}, "Invalid source_filter"),
        ({"daily_limit": 0}, "Invalid daily_limit: 0. Must be between 1 and 1000"),
        ({"default_analysis_parameters": {"z": 1}}, "Invalid analysis_parameters"),
    ):
        with pytest.raises(SkyPortalError, match=message):
            server.ada.update_default_analysis(service, number, DefaultAnalysisPost(**wrong))
    server.ada.delete_default_analysis(service, number)
    assert status(server.ada.fetch_default_analysis, service, number) == 404
    assert server.ada.fetch_analysis(run.id).id == run.id
    server.mia.delete_analysis_service(service)


def test_everybody_is_told_what_there_is(server):
    types = server.ada.fetch_enum_types()
    assert types["ANALYSIS_TYPES"] == ["lightcurve_fitting", "spectrum_fitting", "meta_analysis"]
    assert "OAuth1" in types["AUTHENTICATION_TYPES"]
    assert "classifications" in types["ANALYSIS_INPUT_TYPES"]
