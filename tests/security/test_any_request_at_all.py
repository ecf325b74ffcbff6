"""Requests drawn from the description of the API: nothing breaks, and answers fit what is said."""

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from portal_world import make_portal, on_a_port

ENDLESS = {"/api/events"}
NOT_MADE = 501  # what SkyPortal has and firstlight has not; said so in words
CHECKS = [response_schema_conformance, content_type_conformance]
STEADY = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SETTINGS = """
[web]
open_on_loopback = false
public_sites = "*"

[accounts]
attempts_per_address = 1000000
"""


@pytest.fixture(scope="module")
def portal(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "workspace"
    portal = make_portal(folder, settings=SETTINGS)
    portal.add_user("root", roles=["Super admin"], scopes=["admin"])
    with on_a_port(portal.app) as address:
        yield portal, address
    portal.factory.database.dispose()


def faults_of(operation, mode, session, address):
    """What went wrong with the requests that were drawn for one address."""
    found = []

    @STEADY
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        answer = case.call(base_url=address, session=session, timeout=20)
        told = f"{answer.request.method} {answer.request.url} {answer.request.body!r:.300}"
        if answer.status_code == NOT_MADE:
            return
        if answer.status_code >= 500:
            found.append(f"{told}: {answer.status_code} {answer.text:.300}")
            return
        try:
            case.validate_response(answer, checks=CHECKS)
        except Exception as fault:  # noqa: BLE001, all are told together
            found.append(f"{told}: {answer.status_code} {fault!s:.600}")

    ask()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("who", [None, "root"], ids=["without a token", "as root"])
@pytest.mark.filterwarnings("ignore")  # of the library that draws
def test_nothing_that_is_drawn_breaks_the_server(portal, who):
    portal, address = portal
    schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 150
    faults = []
    with requests.Session() as session:
        session.headers.update(portal.headers(who))
        for operation in operations:
            if operation.path in ENDLESS:
                continue
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    faults += faults_of(operation, mode, session, address)
                except Exception as fault:  # noqa: BLE001, likewise
                    if "Unsatisfiable" not in repr(fault):
                        faults.append(f"{operation.label}: {fault!r:.300}")
    assert faults == [], "\n".join(faults)


def test_the_server_still_works_after_all_that(portal):
    portal, address = portal
    answer = requests.get(f"{address}/ready", timeout=60)
    assert answer.status_code == 200
    assert not_a_server_error is not None
