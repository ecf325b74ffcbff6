"""Public sample nights, from a server in this process."""

import gc
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from firstlight.errors import InvalidInput
from firstlight.services import samples
from firstlight.services.samples import Sample, SampleUnreachable, fetch_sample

LEFT_OPEN = "ignore::ResourceWarning"  # requests does not close what it refuses
FILES = {f"night_{n}.fits": f"frame {n}".encode() * 100 for n in range(3)}


class Server(ThreadingHTTPServer):
    """Serves `files`, and notes what it was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.strip("/")
        self.server.asked.append(name)
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def listing(monkeypatch, tmp_path):
    """A sample whose listing lies in a folder of ours."""
    folder = tmp_path / "listings"
    (folder / "data").mkdir(parents=True)
    lines = [f"{name} {hashlib.sha256(text).hexdigest()}" for name, text in FILES.items()]
    (folder / "data" / "small.txt").write_text("\n".join(lines))
    monkeypatch.setattr(samples.resources, "files", lambda _package: folder)
    sample = Sample("http://127.0.0.1:1/nowhere/", "small.txt", "three files")
    monkeypatch.setattr(samples, "SAMPLES", {"small": sample})


@pytest.fixture
def impatient(monkeypatch):
    """No pauses between attempts; what requests leaves open is closed here, not in a later test."""
    monkeypatch.setattr(samples.pooch.core.time, "sleep", lambda _seconds: None)
    yield
    gc.collect()


def test_all_files_come(server, listing, tmp_path):
    seen: list[tuple[int, int]] = []
    target = fetch_sample(
        "small",
        tmp_path / "here",
        base_url=server.url,
        on_progress=lambda done, of: seen.append((done, of)),
    )
    assert {path.name: path.read_bytes() for path in target.iterdir()} == FILES
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_what_is_there_is_not_fetched_again(server, listing, tmp_path):
    fetch_sample("small", tmp_path / "here", base_url=server.url)
    server.asked.clear()
    fetch_sample("small", tmp_path / "here", base_url=server.url)
    assert server.asked == []


def test_a_damaged_file_is_fetched_again(server, listing, tmp_path):
    target = fetch_sample("small", tmp_path / "here", base_url=server.url)
    (target / "night_1.fits").write_bytes(b"damaged")
    server.asked.clear()
    fetch_sample("small", tmp_path / "here", base_url=server.url)
    assert server.asked == ["night_1.fits"]
    assert (target / "night_1.fits").read_bytes() == FILES["night_1.fits"]


@pytest.mark.filterwarnings(LEFT_OPEN)
def test_other_bytes_than_announced_are_refused(server, listing, tmp_path, impatient):
    server.files["night_2.fits"] = b"something else"
    with pytest.raises(SampleUnreachable) as caught:
        fetch_sample("small", tmp_path / "here", base_url=server.url)
    assert caught.value.subject == "night_2.fits"
    assert "firstlight simulate" in caught.value.hint
    assert not (tmp_path / "here" / "night_2.fits").exists(), "nothing wrong is kept"
    assert (tmp_path / "here" / "night_1.fits").exists(), "what came well is"


@pytest.mark.filterwarnings(LEFT_OPEN)
def test_a_file_that_is_not_there(server, listing, tmp_path, impatient):
    del server.files["night_0.fits"]
    with pytest.raises(SampleUnreachable) as caught:
        fetch_sample("small", tmp_path / "here", base_url=server.url)
    assert caught.value.subject == "night_0.fits"
    assert "404" in caught.value.found


@pytest.mark.filterwarnings(LEFT_OPEN)
def test_no_server(listing, tmp_path, impatient):
    with pytest.raises(SampleUnreachable) as caught:
        fetch_sample("small", tmp_path / "here")
    assert str(tmp_path / "here") in caught.value.hint


def test_an_unknown_sample():
    with pytest.raises(InvalidInput, match="no such sample") as caught:
        fetch_sample("hat-p-33")
    assert "hat-p-32" in caught.value.expected


def test_the_real_listing_is_whole():
    sample = samples.SAMPLES["hat-p-32"]
    text = samples.resources.files("firstlight.services").joinpath("data", sample.listing)
    lines = [line.split() for line in text.read_text().splitlines()]
    assert len(lines) == len({name for name, _ in lines}) == 71
    assert all(len(digest) == 64 for _, digest in lines)
