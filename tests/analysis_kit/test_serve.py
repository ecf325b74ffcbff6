"""A function as a service: it answers at once, works beside, and the portal always hears of it."""

import asyncio
import http.server
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from firstlight.analysis_kit.callbacks import CallbackSettings, Caller
from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.kept_runs import KeptRuns
from firstlight.analysis_kit.run_queue import Acceptance, QueueSettings, RunQueue
from firstlight.analysis_kit.serve import ServeSettings, application
from firstlight.analysis_kit.worker import BrokenService, Worker

PATIENCE_S = 60
POINTS = "mjd,flux,fluxerr,filter\n60000.5,1.5,0.1,sdssg\n"
QUICK = CallbackSettings(
    timeout_s=5, first_pause_s=0.02, longest_pause_s=0.05, progress_every_s=0.0
)
SERVICE = '''
import os, signal, subprocess, sys, time
from firstlight.analysis_kit import AnalysisFailed, Results, ServiceDeclaration

SERVICE = ServiceDeclaration(
    "My echo", version="2", timeout=TIMEOUT, parameters={"do": ["echo", "fail", "raise", "exit",
    "kill", "sleep", "nothing", "print", "memory", "child", "wrong"], "n": {"type": "integer"}},
)

def fit(inputs, progress):
    """Give back what came in."""
    do = inputs.parameters["do"]
    progress(0.25, "begun")
    if do == "fail":
        raise AnalysisFailed("too few points", hint="observe more")
    if do == "raise":
        raise ValueError("no good")
    if do == "exit":
        sys.exit(7)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "sleep":
        time.sleep(60)
    if do == "print":
        print("for the terminal")
    if do == "memory":
        bytearray(1 << 34)
    if do == "child":
        subprocess.Popen(["sleep", "60"])
        time.sleep(60)
    if do == "nothing":
        return None
    if do == "wrong":
        return {"a": object()}
    return Results("echo", {"object": inputs.object_name, "process": os.getpid(),
                            "n": inputs.parameters.get("n")})
'''


class Portal:
    """A portal on this machine: it keeps what it is told, and answers as it is told to."""

    def __init__(self):
        self.heard = queue.Queue()
        self.answers = []  # of the next callbacks; then 200
        portal = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                portal.heard.put((self.path, body))
                is_callback = "status" in body
                status = portal.answers.pop(0) if portal.answers and is_callback else 200
                said = json.dumps({"status": "error", "message": f"said {status}"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def request(self, run="token-1", **parameters):
        return {
            "callback_url": f"{self.url}/api/webhook/obj_analysis/{run}",
            "callback_method": "POST",
            "inputs": {"photometry": POINTS, "analysis_parameters": parameters},
            "resource_id": "SN 2026abc",
            "invalid_after": "2199-01-01 00:00:00",
        }

    def result(self, run="token-1"):
        """What was called back next; progress is passed over."""
        while True:
            path, body = self.heard.get(timeout=PATIENCE_S)
            if "status" in body:
                assert path == f"/api/webhook/obj_analysis/{run}"
                return body


@pytest.fixture
def portal():
    there = Portal()
    yield there
    there.close()


@pytest.fixture
def function(tmp_path):
    path = tmp_path / "echoing.py"
    path.write_text(SERVICE.replace("TIMEOUT", "50.0"))
    return f"{path}:fit"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One service for the tests that need none of their own."""
    path = tmp_path_factory.mktemp("service") / "echoing.py"
    path.write_text(SERVICE.replace("TIMEOUT", "50.0"))
    with running(f"{path}:fit") as there:
        yield there


@contextmanager
def running(function, **settings):
    runs = RunQueue(function, QueueSettings(callbacks=QUICK, stop_s=5, **settings))
    try:
        runs.start()
        yield runs
    finally:
        runs.stop()


class Client:
    """Asks an application, as over HTTP."""

    def __init__(self, runs, **settings):
        declaration = ServiceDeclaration("My echo", version="2")
        self.app = application(runs, declaration, ServeSettings(**settings))

    def request(self, method, path, **facts):
        async def ask():
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as there:
                return await there.request(method, path, **facts)

        return asyncio.run(ask())

    def post(self, path, **facts):
        return self.request("POST", path, **facts)

    def get(self, path, **facts):
        return self.request("GET", path, **facts)


def test_a_request_is_answered_at_once_and_called_back_later(runs, portal):
    http = Client(runs)
    answer = http.post("/analysis/My-echo", json=portal.request(do="echo", n=3))
    assert answer.status_code == 200
    assert answer.json()["status"] == "pending"
    found = portal.result()
    assert (found["status"], found["message"]) == ("success", "echo")
    data = found["analysis"]["results"]["data"]
    assert (data["object"], data["n"]) == ("SN 2026abc", 3)
    assert data["process"] != os.getpid()
    about = http.get("/analysis/My-echo").json()
    assert (about["status"], about["name"], about["version"]) == ("active", "My echo", "2")


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("fail", "too few points (hint: observe more)"),
        ("raise", "ValueError: no good (echoing.py, line 17)"),
        ("exit", "SystemExit: 7"),
        ("kill", "its process was ended by SIGKILL"),
        ("nothing", "NoneType where Results are expected"),
        ("wrong", "results.a: a object cannot be sent"),
        ("dance", "parameter do: 'dance' is not among its choices"),
    ],
)
def test_a_fault_is_told_and_the_next_run_is_done(runs, portal, do, message):
    assert runs.accept(portal.request("a", do=do)) is Acceptance.TAKEN
    found = portal.result("a")
    assert found["status"] == "failure"
    assert message in found["message"]
    assert found["analysis"] == {}
    runs.accept(portal.request("b", do="echo"))
    assert portal.result("b")["status"] == "success"


def test_a_process_is_kept_from_run_to_run(runs, portal):
    found = []
    for token in "ab":
        runs.accept(portal.request(token, do="echo"))
        found.append(portal.result(token)["analysis"]["results"]["data"]["process"])
    assert found[0] == found[1]


def test_a_process_that_died_between_runs_harms_none(runs, portal):
    runs.accept(portal.request("a", do="echo"))
    number = portal.result("a")["analysis"]["results"]["data"]["process"]
    os.kill(number, signal.SIGKILL)
    runs.accept(portal.request("b", do="echo"))
    assert portal.result("b")["status"] == "success"


def test_a_process_is_replaced_after_its_share(function):
    worker = Worker(function, runs_a_process=1)
    try:
        body = {"inputs": {"photometry": POINTS, "analysis_parameters": {"do": "echo"}}}
        found = [worker.run(body, timeout=20, tell=lambda *_: None) for _ in range(2)]
    finally:
        worker.close()
    first, second = (each["analysis"]["results"]["data"]["process"] for each in found)
    assert first != second


def test_a_run_that_takes_too_long_is_ended_with_its_children(tmp_path, portal):
    path = tmp_path / "slow.py"
    path.write_text(SERVICE.replace("TIMEOUT", "1.0"))
    with running(f"{path}:fit") as runs:
        runs.accept(portal.request(do="child"))
        assert "took more than 1 s and was ended" in portal.result()["message"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no limit on memory there")
def test_a_run_that_takes_too_much_memory_fails(function, portal):
    with running(function, memory_mb=2000) as runs:
        runs.accept(portal.request(do="memory"))
        assert portal.result()["message"] == "the analysis ran out of memory"


def test_what_a_function_prints_goes_to_the_terminal(function, portal, capfd):
    with running(function) as runs:
        runs.accept(portal.request(do="print"))
        assert portal.result()["status"] == "success"
    out, err = capfd.readouterr()
    assert out == ""
    assert "for the terminal" in err


def test_progress_is_told_on_the_way(runs, portal):
    request = portal.request(do="echo")
    request["progress_url"] = f"{request['callback_url']}/progress"
    runs.accept(request)
    path, body = portal.heard.get(timeout=PATIENCE_S)
    assert path.endswith("/token-1/progress")
    assert body == {"progress": 0.25, "message": "begun"}
    assert portal.result()["status"] == "success"


def test_progress_goes_nowhere_else(portal, runs):
    request = portal.request(do="echo") | {"progress_url": "http://127.0.0.1:9/progress"}
    runs.accept(request)
    assert portal.result()["status"] == "success"


@pytest.mark.parametrize("answers", [[500], [503, 429, 502]])
def test_a_portal_that_is_down_is_called_again(runs, portal, answers):
    portal.answers = list(answers)
    runs.accept(portal.request(do="echo"))
    found = [portal.result() for _ in range(len(answers) + 1)]
    assert all(each == found[0] for each in found)
    assert found[0]["status"] == "success"


def test_a_portal_that_is_not_there_yet_is_called_again(function):
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    request = {"callback_url": f"http://127.0.0.1:{port}/x"}
    caller = Caller(request, QUICK, threading.Event())
    outcome = []
    document = {"status": "success", "message": "", "analysis": {}}
    thread = threading.Thread(target=lambda: outcome.append(caller.deliver(document)))
    thread.start()
    time.sleep(0.1)
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", port), Handler) as server:
        server.handle_request()
        thread.join(PATIENCE_S)
    assert outcome[0].arrived
    assert json.loads(heard[0]) == document


def test_results_that_are_refused_become_a_failure(runs, portal, caplog):
    portal.answers = [413]
    caplog.set_level(logging.INFO, "firstlight.analysis")
    runs.accept(portal.request("secret-token", do="echo"))
    assert portal.result("secret-token")["status"] == "success"
    told = portal.result("secret-token")
    assert told["status"] == "failure"
    assert "refused by the portal (413): said 413" in told["message"]
    while runs.unfinished():
        time.sleep(0.01)
    assert "not handed back: the portal refused the results: 413" in caplog.text
    assert "secret-token" not in caplog.text


@pytest.mark.parametrize("status", [301, 403, 404, 410])
def test_a_portal_that_does_not_want_them_is_left_alone(portal, status):
    portal.answers = [status, 200]
    caller = Caller(portal.request(), QUICK, threading.Event())
    outcome = caller.deliver({"status": "success", "message": "", "analysis": {}})
    assert (outcome.arrived, outcome.is_final) == (False, True)
    assert str(status) in outcome.why
    assert portal.heard.qsize() == 1


def test_results_that_come_too_late_are_given_up(portal):
    portal.answers = [500, 500]
    request = portal.request() | {"invalid_after": "2020-01-01 00:00:00.5"}
    outcome = Caller(request, QUICK, threading.Event()).deliver({"status": "success"})
    assert (outcome.arrived, outcome.is_final) == (False, True)
    assert outcome.why.startswith("too late")


def test_the_same_run_is_taken_once(runs, portal):
    http = Client(runs)
    request = portal.request(do="echo")
    for _ in range(2):
        assert http.post("/", json=request).json()["status"] == "pending"
    assert portal.result()["status"] == "success"
    assert http.post("/", json=request).status_code == 200
    time.sleep(0.2)
    assert portal.heard.empty()


def test_what_is_too_much_is_turned_away(function, portal):
    with running(function, most_waiting=2) as runs:
        http = Client(runs)
        for token in "ab":
            http.post("/", json=portal.request(token, do="sleep"))
        answer = http.post("/", json=portal.request("c", do="sleep"))
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "30"
        assert http.get("/").json()["runs"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (b"not json", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b"[1]", "Invalid JSON: an object is expected"),
        ({"inputs": None}, "inputs: an object is expected"),
        ({"inputs": ...}, "missing required key inputs"),
        ({"callback_url": ...}, "missing required key callback_url"),
        ({"callback_method": ...}, "missing required key callback_method"),
        ({"callback_method": "PUT"}, "only POST is offered"),
        ({"callback_url": "ftp://a/b"}, "callback_url: an address"),
        ({"callback_url": "http://a:no/b"}, "callback_url: an address"),
        ({"callback_url": 3}, "callback_url: an address"),
    ],
)
def test_what_is_not_of_the_contract_is_refused(portal, change, message):
    if isinstance(change, bytes):
        data = change
    else:
        changed = {**portal.request(), **change}
        data = json.dumps({key: each for key, each in changed.items() if each is not ...}).encode()
    answer = Client(NoRuns()).post("/analysis/My-echo", content=data)
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert message in answer.json()["message"]


class NoRuns:
    """Takes nothing: a request that comes so far was not refused."""

    def accept(self, body):
        raise AssertionError(body)

    def unfinished(self):
        return 0

    def stop(self):
        pass


def test_long_requests_other_paths_and_methods_are_refused(portal):
    http = Client(NoRuns(), most_bytes=1000)
    assert http.post("/", content=b"x" * 1001).status_code == 413
    for method, path, status in (("GET", "/x", 404), ("PUT", "/", 405)):
        answer = http.request(method, path)
        assert answer.status_code == status
        assert "/analysis/My-echo" in answer.json()["message"]
    http = Client(NoRuns(), portal="https://portal.example.org")
    assert http.post("/", json=portal.request()).status_code == 403


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("Bearer s3cret", 200), ("token s3cret", 200), ("s3cret", 200),
        ("Bearer other", 401), ("Bearer ", 401), ("", 401), (None, 401), ("tökén".encode(), 401),
    ],
)  # fmt: skip
def test_a_token_is_asked_for_where_there_is_one(function, portal, shown, status):
    headers = {} if shown is None else {"Authorization": shown}

    class Runs(NoRuns):
        def accept(self, body):
            return Acceptance.TAKEN

    http = Client(Runs(), token="s3cret")  # noqa: S106, of this test alone
    answer = http.post("/", json=portal.request(), headers=headers)
    assert answer.status_code == status
    is_wrong = status == 401 and shown
    assert http.get("/", headers=headers).status_code == (401 if is_wrong else 200)


def test_when_it_stops_the_portal_is_told_of_every_run(function, portal):
    with running(function) as runs:
        runs.accept(portal.request("a", do="sleep"))
        runs.accept(portal.request("b", do="echo"))
        while portal.heard.empty() and runs.unfinished() != 2:
            time.sleep(0.01)
        time.sleep(0.3)
        runs.stop()
        assert runs.accept(portal.request("c")) is Acceptance.STOPPING
        assert runs.unfinished() == 0
    told = sorted(portal.heard.get(timeout=PATIENCE_S)[1]["message"] for _ in range(2))
    assert told == [
        "the service was stopped before this run began",
        "the service was stopped during the analysis (hint: start it anew)",
    ]


def test_kept_runs_outlive_the_service(function, portal, tmp_path):
    folder = tmp_path / "kept"
    with running(function, keep=folder) as runs:
        runs.accept(portal.request("a", do="sleep"))
        runs.accept(portal.request("b", do="echo"))
        time.sleep(0.3)
    files = list(folder.glob("*.json"))
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert portal.heard.empty()
    for path in files:  # nobody waits for the one that sleeps
        path.write_text(path.read_text().replace('"sleep"', '"echo"'))
    with running(function, keep=folder) as runs:
        found = [portal.heard.get(timeout=PATIENCE_S)[1]["status"] for _ in range(2)]
        while runs.unfinished():
            time.sleep(0.01)
    assert found == ["success", "success"]
    assert not list(folder.iterdir())


def test_a_run_that_ends_the_service_each_time_is_given_up(function, portal, tmp_path):
    kept = KeptRuns(tmp_path / "kept")
    kept.put("k", portal.request(do="echo"))
    assert [kept.begin("k") for _ in range(3)] == [True] * 3
    with running(function, keep=tmp_path / "kept"):
        assert portal.result()["message"].startswith("the service died during this run")


def test_a_fault_of_the_service_itself_is_told_too(runs, portal, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(Worker, "run", broken)
    runs.accept(portal.request("a", do="echo"))
    assert portal.result("a")["message"] == "the service itself failed; its log says why"
    monkeypatch.undo()
    runs.accept(portal.request("b", do="echo"))
    assert portal.result("b")["status"] == "success"


def test_a_damaged_file_of_a_kept_run_harms_no_other(function, portal, tmp_path, caplog):
    kept = KeptRuns(tmp_path / "kept")
    kept.put("k", portal.request(do="echo"))
    (tmp_path / "kept" / "x.json").write_text("damaged")
    with running(function, keep=tmp_path / "kept"):
        assert portal.result()["status"] == "success"
    assert "x.json is no kept run" in caplog.text
    assert (tmp_path / "kept" / "x.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def other(): pass", "has no function fit; it has other"),
        ("import nosuchmodule", "No module named 'nosuchmodule'"),
        ("import os; os._exit(4)", "exit status 4"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_told_of_at_once(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(BrokenService, match=message):
        RunQueue(f"{path}:fit", QueueSettings()).start()


def test_the_command_serves_until_it_is_told_to_stop(function, portal, tmp_path):
    command = [sys.executable, "-m", "firstlight", "analysis", "serve", function, "--port", "0"]
    environment = os.environ | {"FIRSTLIGHT_ANALYSIS_TOKEN": "s3cret", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        cwd=tmp_path,
    ) as process:  # fmt: skip
        line = process.stdout.readline()
        assert line.startswith("My echo 2 answers at http://127.0.0.1:")
        address = line.split()[-1]
        headers = {"Authorization": "Bearer s3cret"}
        assert httpx.post(address, json=portal.request(do="echo")).status_code == 401
        done = httpx.post(address, json=portal.request(do="echo"), headers=headers)
        assert done.json()["status"] == "pending"
        assert portal.result()["status"] == "success"
        httpx.post(address, json=portal.request("b", do="sleep"), headers=headers)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert "was stopped" in portal.result("b")["message"]
        _, log = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert "run 1 of SN 2026abc: handed back" in log
    assert "token-1" not in log
    assert "Traceback" not in log


def test_a_child_ends_with_its_server(function, portal, tmp_path):
    command = [sys.executable, "-m", "firstlight", "analysis", "serve", function, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=tmp_path, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        address = process.stdout.readline().split()[-1]
        httpx.post(address, json=portal.request("a", do="echo"))
        number = portal.result("a")["analysis"]["results"]["data"]["process"]
        httpx.post(address, json=portal.request("b", do="sleep"))
        time.sleep(0.3)
        process.kill()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and _is_there(number):
        time.sleep(0.02)
    assert not _is_there(number)


def _is_there(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"
