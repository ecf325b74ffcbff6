"""What monitors and `curl -I` ask."""

import httpx
import pytest

from firstlight.web.app import create_app


@pytest.fixture
def address(make_services, serve):
    return serve(create_app(make_services(public_sites="*")))


@pytest.mark.parametrize(
    "path", ["/", "/api/health", "/api/exposures", "/photonranch/recentuploads?site=all"]
)
def test_whatever_can_be_got_can_be_looked_at(address, path):
    looked = httpx.head(address + path, trust_env=False)
    got = httpx.get(address + path, trust_env=False)
    assert looked.status_code == got.status_code
    assert looked.content == b""
    assert looked.headers["Content-Type"] == got.headers["Content-Type"]


def test_the_endless_stream_is_not_looked_at(address):
    assert httpx.head(address + "/api/events", trust_env=False).status_code == 405


def test_the_description_has_each_operation_once(address):
    paths = httpx.get(address + "/api/openapi.json", trust_env=False).json()["paths"]
    ids = [of["operationId"] for path in paths.values() for of in path.values()]
    assert len(ids) == len(set(ids)) > 30
    assert not any("head" in path for path in paths.values())
