"""A small reduced night, served on this machine, and a headless Chromium to look at it."""

import os
import shutil
import threading
from pathlib import Path

import pytest
import uvicorn

from firstlight.catalogs.tycho2 import Tycho2
from firstlight.factory import Factory
from firstlight.services.night import NightService
from firstlight.simulation import DetectorSettings, NightSettings, simulate_night
from firstlight.web.app import create_app
from firstlight.work.engine import WorkerSetup
from firstlight.work.inline_engine import InlineEngine

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


def missing(what):
    """Skip, or fail where a browser must be there."""
    if "browser" in os.environ.get("FIRSTLIGHT_REQUIRE", ""):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium():
    """The browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        missing("no chromium on the path")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe_source():
    """The source of axe, which finds what keeps people out."""
    if not AXE.exists():
        missing("axe-core is not installed: make web")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def reduced_workspace(tmp_path_factory):
    """A workspace with one small night, reduced, and its light curves."""
    folder = tmp_path_factory.mktemp("browser")
    settings = NightSettings(
        n_exposures=6, n_bias=3, n_dark=3, n_flat=3,
        detector=DetectorSettings(rows=512, columns=512),
    )  # fmt: skip
    simulate_night(settings, folder / "sky", catalog=Tycho2())
    factory = Factory.create(folder / "workspace")
    factory.archive.ingest(factory.archive.find([folder / "sky"]))
    setup = WorkerSetup(
        initializer="firstlight.factory.jobs:start_worker", argument=str(folder / "workspace")
    )
    night = NightService(
        make_engine=lambda: InlineEngine(factory.jobs(), setup), plans=factory.plans()
    )
    with night.running():
        for stage in night.stages():
            stage.run(lambda done: None)
    yield factory
    factory.database.dispose()


@pytest.fixture(scope="session")
def portal(reduced_workspace):
    """Where the workspace is served; from this machine no login is needed."""
    app = create_app(reduced_workspace)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "the server did not start"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    app.state.hub.close()
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def look(chromium, portal):
    """Open a page; what its console complains of is in `page.complaints`."""
    contexts = []

    def open_page(path, *, width=1280, height=860, **options):
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.complaints = []
        page.on(
            "console",
            lambda said: page.complaints.append(said.text) if said.type == "error" else None,
        )
        page.on("pageerror", lambda fault: page.complaints.append(str(fault)))
        page.goto(portal + path, wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()
