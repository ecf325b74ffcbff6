"""Only a person at this machine is let in without a token, whatever a request says."""

import pytest

ME = {"address": "127.0.0.1", "host": "localhost:8000"}
TOKEN = {"name": "another", "scopes": ["read"]}


@pytest.fixture
def laptop(make_client):
    return make_client(open_on_loopback=True)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "tst.localhost"]
)
def test_from_this_machine_all_is_open(laptop, address, host):
    assert laptop.get("/api/tokens", address=address, host=host).status_code == 200


@pytest.mark.parametrize("address", ["203.0.113.5", "192.168.1.7", "::ffff:10.0.0.1", "fe80::1"])
def test_from_elsewhere_nothing(laptop, address):
    answer = laptop.get("/api/tokens", address=address, host="localhost:8000")
    assert answer.status_code == 401
    assert answer.json()["data"]["code"] == "access.not_signed_in"


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via", "X-Real-IP"],
)
def test_through_a_proxy_beside_the_server_nothing(laptop, header):
    assert laptop.get("/api/tokens", headers={header: "127.0.0.1"}, **ME).status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evil.example:8000", "127.0.0.1.nip.io"]
)
def test_a_foreign_name_bound_to_this_machine_opens_nothing(laptop, host):
    answer = laptop.get("/api/tokens", address="127.0.0.1", host=host)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost:8000"}, 201),
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "https://evil.example"}, 401),
        ({"Origin": "null"}, 401),
        ({"Origin": "http://localhost:9999"}, 401),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Sec-Fetch-Site": "same-site"}, 401),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 401),
    ],
)
def test_another_page_in_ones_browser_cannot_change_anything(laptop, headers, status):
    answer = laptop.post("/api/tokens", json=TOKEN, headers=headers, **ME)
    assert answer.status_code == status


def test_another_page_can_neither_read_but_a_link_may_be_followed(laptop):
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert laptop.get("/api/me", headers=foreign, **ME).json()["data"]["scopes"] == []
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert "admin" in laptop.get("/api/me", headers=link, **ME).json()["data"]["scopes"]


def test_with_a_wrong_token_one_is_not_let_in_as_oneself(laptop):
    answer = laptop.get("/api/me", headers={"Authorization": "token fl_wrong"}, **ME)
    assert answer.status_code == 401


def test_it_can_be_switched_off(make_client):
    assert make_client(open_on_loopback=False).get("/api/tokens", **ME).status_code == 401
