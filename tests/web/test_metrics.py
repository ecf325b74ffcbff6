import datetime as dt
import time
import uuid

import pytest
from prometheus_client.parser import text_string_to_metric_families

from firstlight.models.arrival import Arrival
from firstlight.services.server_state import ServerStateService
from firstlight.storage.store import StorageUnreachable
from firstlight.work.dbos_engine import DbosEngine
from firstlight.work.engine import JobKind, JobRequest
from firstlight.work.job_counts import JobCounter

LOCAL = {"address": "127.0.0.1", "host": "localhost:8000"}
PLATFORM = {"python_info", "firstlight_info"}


def samples(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def nap(payload, services):
    return payload


def test_requests_are_counted_by_pattern_and_status(client):
    client.get("/api/me")
    client.get("/api/exposures/one")
    client.get("/api/exposures/two")
    client.head("/api/exposures/two")
    client.get("/wp-login.php")
    client.request("BREW", "/coffee")
    found = samples(client.get("/metrics", **LOCAL))
    requests = "firstlight_http_requests_total"
    assert found[requests, "/api/me", "200", "GET"] == 1
    assert found[requests, "/api/exposures/{which}", "401", "GET"] == 2
    assert found[requests, "/api/exposures/{which}", "401", "HEAD"] == 1
    assert found[requests, "(none)", "404", "GET"] == 1
    assert found["firstlight_http_request_seconds_count", "/api/exposures/{which}", "GET"] == 2
    assert 0 < found["firstlight_http_request_seconds_sum", "/api/me", "GET"] < 60
    assert not any("/one" in part or "BREW" in part for key in found for part in key)


def test_applications_count_for_themselves(make_client):
    first, second = make_client(), make_client()
    first.get("/api/me")
    key = ("firstlight_http_requests_total", "/api/me", "200", "GET")
    assert samples(first.get("/metrics", **LOCAL))[key] == 1
    assert key not in samples(second.get("/metrics", **LOCAL))


@pytest.mark.parametrize(
    ("who", "setting", "status"),
    [
        ("near", "loopback", 200),
        ("near", "operators", 401),
        ("far", "loopback", 401),
        ("far", "anyone", 200),
        ("proxied", "loopback", 401),
        ("reader", "loopback", 403),
        ("operator", "loopback", 200),
        ("operator", "operators", 200),
    ],
)
def test_who_may_read_the_figures(make_client, who, setting, status):
    client = make_client(metrics_for=setting)
    options = dict(LOCAL) if who in {"near", "proxied"} else {}
    if who == "proxied":
        options["headers"] = {"X-Forwarded-For": "198.51.100.7"}
    if who in {"reader", "operator"}:
        scope = {"reader": "read", "operator": "operate"}[who]
        token = client.services.access.make(who, [scope]).token
        options["headers"] = {"Authorization": f"Bearer {token}"}
    assert client.get("/metrics", **options).status_code == status


def test_arrivals_jobs_and_queues_are_told(client, database, tmp_path):
    with database.begin() as session:
        for number, state in enumerate(["archived", "archived", "received"]):
            session.add(Arrival(id=uuid.uuid4(), source=f"/{number}", state=state))
    found = samples(client.get("/metrics", **LOCAL))
    assert found["firstlight_arrivals", "archived"] == 2
    assert found["firstlight_arrivals", "received"] == 1
    assert found["firstlight_event_streams",] == 0
    assert found["firstlight_database_up",] == 1
    assert ("firstlight_worker_heartbeat_age_seconds",) not in found
    assert not (tmp_path / "jobs.sqlite").exists()  # to look must not make it


def test_a_database_that_is_away_leaves_the_other_figures(client, monkeypatch):
    client.get("/api/me")

    def broken(self):
        raise StorageUnreachable

    monkeypatch.setattr(client.services.server_state._jobs, "counts", broken.__get__(1))
    found = samples(client.get("/metrics", **LOCAL))
    assert found["firstlight_database_up",] == 0
    assert found["firstlight_http_requests_total", "/api/me", "200", "GET"] == 1
    assert ("firstlight_last_event",) not in found


def test_figures_are_counted_once_for_many(database, store):
    class Counter:
        asked = 0

        def counts(self):
            self.asked += 1
            return JobCounter("sqlite://", time.time).counts()

    now = [0.0]
    jobs = Counter()
    state = ServerStateService(database=database, store=store, jobs=jobs, clock=lambda: now[0])
    state.figures()
    state.figures()
    assert jobs.asked == 1
    now[0] = 6.0
    state.figures()
    assert jobs.asked == 2


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def jobs_database(request, tmp_path):
    if request.param == "sqlite":
        return tmp_path / "jobs.sqlite"
    return request.getfixturevalue("postgres_url")


def test_jobs_are_counted_without_an_engine(jobs_database):
    counter = JobCounter(jobs_database, clock=time.time)
    assert counter.counts().by_state == {}
    jobs = {"nap": JobKind("test_metrics:nap")}
    with DbosEngine(jobs_database, jobs=jobs, workers=0) as engine:
        engine.submit([JobRequest(f"job {number}", "nap") for number in range(3)])
        engine.cancel(["job 2"])
        # No process with workers has been there: nothing has been heard of any.
        counts = counter.counts()
    assert counts.queued == {"jobs": 2}
    assert counts.by_state["queued"] == 2
    assert counts.by_state["cancelled"] == 1
    assert 0 <= counts.oldest_wait_s["jobs"] < 60
    assert counts.last_heartbeat_s is None


def test_a_worker_is_heard_of(jobs_database):
    jobs = {"nap": JobKind("operator:not_")}
    with DbosEngine(jobs_database, jobs=jobs, workers=1):
        counts = JobCounter(jobs_database, clock=time.time).counts()
    assert 0 <= counts.last_heartbeat_s < 30


def test_alive_asks_nothing(client):
    client.services.server_state = client.services.access = None
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["data"]) == (200, {"alive": True})


def test_ready_without_workers_is_ready_and_says_so(client):
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["data"] == {"database": "ok", "storage": "ok", "workers": "silent"}


@pytest.mark.parametrize("part", ["database", "storage"])
def test_what_is_broken_is_named_and_no_more(client, part, monkeypatch):
    state = client.services.server_state

    def broken(*_):
        raise StorageUnreachable("inside.example refused", subject="s3://secret-bucket")

    if part == "storage":
        monkeypatch.setattr(state._store, "exists", broken)
    else:
        monkeypatch.setattr(state, "_ask_database", broken)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json()["data"][part] == "broken"
    assert "secret" not in answer.text
    assert "inside" not in answer.text


def test_a_storage_that_hangs_makes_an_answer_all_the_same(client, monkeypatch):
    monkeypatch.setattr("firstlight.web.api.health._PATIENCE_S", 0.05)
    monkeypatch.setattr(client.services.server_state._store, "exists", lambda key: time.sleep(0.5))
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["data"]["storage"]) == (503, "broken")


def test_a_silent_worker(database, store, tmp_path):
    with DbosEngine(tmp_path / "jobs.sqlite", jobs={"nap": JobKind("operator:not_")}):
        later = dt.timedelta(minutes=5).total_seconds()
        for shift, condition in ((0.0, "ok"), (later, "silent")):
            jobs = JobCounter(tmp_path / "jobs.sqlite", lambda s=shift: time.time() + s)
            state = ServerStateService(database=database, store=store, jobs=jobs)
            assert state.readiness().workers == condition
