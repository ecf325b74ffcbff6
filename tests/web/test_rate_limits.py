import pytest

from firstlight.web.client_address import client_address, neighbourhood, networks
from firstlight.web.rate_limits import Buckets


def scope(address, *forwarded):
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    return {"type": "http", "client": (address, 1), "headers": headers}


def test_without_the_setting_nobody_is_counted(make_client):
    client = make_client()
    assert {client.get("/api/me").status_code for _ in range(200)} == {200}


def test_who_asks_too_often_is_told_when_to_come_back(make_client):
    client = make_client(requests_per_minute=60, request_burst=3)
    assert [client.get("/api/me").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = client.get("/api/me")
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
    body = answer.json()
    assert body["status"] == "error"
    assert body["data"]["code"] == "web.too_many_requests"
    assert "1 s" in body["data"]["hint"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert client.get("/api/me", address="203.0.113.6").status_code == 200
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 200


def test_a_token_has_a_bucket_of_its_own(make_client):
    client = make_client(requests_per_minute=60, request_burst=2)
    new = client.services.access.make("x", ["read"])
    headers = {"Authorization": f"token {new.token}"}
    assert [client.get("/api/me").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/api/me", address="203.0.113.7", headers=headers).status_code == 200
    assert client.get("/api/me", address="203.0.113.8", headers=headers).status_code == 200
    assert client.get("/api/me", address="203.0.113.9", headers=headers).status_code == 429


def test_invented_tokens_are_charged_to_their_address(make_client):
    client = make_client(requests_per_minute=60, request_burst=3)
    tried = [
        client.get("/api/me", headers={"Authorization": f"token {number}"}).status_code
        for number in range(5)
    ]
    assert tried == [401, 401, 401, 429, 429]


def test_the_first_proxy_that_is_not_ours_is_not_believed(make_client):
    client = make_client(requests_per_minute=60, request_burst=1, trusted_proxies=("10.0.0.0/8",))

    def status(forwarded, address="10.0.0.1"):
        headers = {"X-Forwarded-For": forwarded}
        return client.get("/api/me", headers=headers, address=address).status_code

    assert status("198.51.100.1") == 200
    assert status("198.51.100.2") == 200
    assert status("198.51.100.1") == 429
    assert status("1.2.3.4, 198.51.100.1") == 429  # what the sender wrote changes nothing
    assert status("198.51.100.3", address="203.0.113.1") == 200
    assert status("198.51.100.4", address="203.0.113.1") == 429  # no proxy of ours


@pytest.mark.parametrize(
    ("client", "forwarded", "found"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["8.8.8.8"], "203.0.113.1"),
        ("10.0.0.1", ["8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", ["1.1.1.1, 8.8.8.8, 10.0.0.2"], "8.8.8.8"),
        ("10.0.0.1", ["1.1.1.1", "8.8.8.8"], "8.8.8.8"),
        ("10.0.0.1", ["nonsense"], "nonsense"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("::ffff:10.0.0.1", ["8.8.8.8"], "8.8.8.8"),
    ],
)
def test_where_a_request_comes_from(client, forwarded, found):
    assert client_address(scope(client, *forwarded), networks(["10.0.0.0/8"])) == found


@pytest.mark.parametrize(
    ("address", "sender"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_who_counts_as_one(address, sender):
    assert neighbourhood(address) == sender


@pytest.mark.parametrize("proxy", ["proxy.example", "10.0.0.0/40", ""])
def test_proxies_are_addresses(make_client, proxy):
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        make_client(trusted_proxies=(proxy,))


def test_a_bucket_refills_steadily_and_holds_its_measure():
    now = [0.0]
    buckets = Buckets(per_minute=30, burst=2, clock=lambda: now[0])
    for _ in range(2):
        assert buckets.wait_s("a") == 0
        buckets.take("a")
    assert buckets.wait_s("a") == pytest.approx(2.0)
    now[0] = 1.0
    assert buckets.wait_s("a") == pytest.approx(1.0)
    now[0] = 1000.0
    buckets.take("a")
    buckets.take("a")
    assert buckets.wait_s("a") == pytest.approx(2.0)


def test_senders_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr("firstlight.web.rate_limits._KEPT", 3)
    buckets = Buckets(60, 1, clock=lambda: 0.0)
    for name in "abcd":
        buckets.take(name)
    assert len(buckets._buckets) == 3
    assert buckets.wait_s("a") == 0.0  # forgotten first
    assert buckets.wait_s("d") > 0
