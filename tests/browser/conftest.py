"""A browser, and a portal as `firstlight serve` opens it on a laptop."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_MS
from playwright.sync_api import sync_playwright

from firstlight.config import load_settings
from firstlight.factory import Factory

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
READY_S = 120


def missing(reason):
    """Skip, or fail where a browser is required."""
    if "browser" in os.environ.get("FIRSTLIGHT_REQUIRE", "").replace(",", " ").split():
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium.

    Ended with the module: while it runs, an event loop runs in this thread, and
    other tests could not start theirs.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        missing(f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def axe():
    """The script that finds what people with other senses stumble on."""
    if not AXE.is_file():
        missing("axe-core is not installed: make web")
    return str(AXE)


class Portal:
    """A workspace and the address of its server."""

    def __init__(self, folder):
        self.folder = folder
        self.address = ""
        self.factory = Factory(folder, load_settings(folder))

    @property
    def database(self):
        return self.factory.database


@pytest.fixture(scope="module")
def portal(tmp_path_factory, request):
    """A portal that needs no login from this machine, with the `SETTINGS` of the module."""
    folder = tmp_path_factory.mktemp("portal") / "workspace"
    command = [sys.executable, "-m", "firstlight"]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FIRSTLIGHT_")}
    subprocess.run([*command, "init", folder], check=True, env=clean, capture_output=True)
    with (folder / "firstlight.toml").open("a", encoding="utf-8") as settings:
        settings.write(getattr(request.module, "SETTINGS", ""))
    made = Portal(folder)
    log = (folder.parent / "serve.log").open("w+")
    running = subprocess.Popen(
        [*command, "-w", folder, "serve", "--port", "0", "--workers", "1"],
        stdout=log, stderr=subprocess.STDOUT, env=clean, text=True,
    )  # fmt: skip
    try:
        made.address = address_in(Path(log.name), running)
        yield made
    finally:
        running.terminate()
        running.wait(60)
        log.close()


def address_in(log, running):
    """Wait until the server has said where it is."""
    for _ in range(READY_S * 5):
        found = re.search(r"serving (http://\S+?)/?\s", log.read_text())
        if found:
            return found[1]
        try:
            running.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"the server did not start: {log.read_text()}")


@pytest.fixture
def open_page(browser, portal):
    """Open pages of the portal; what they complain of in the console fails the test."""
    contexts, complaints = [], []

    def start(path, **options):
        options.setdefault("viewport", {"width": 1360, "height": 900})
        context = browser.new_context(base_url=portal.address, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on(
            "console",
            lambda told: (
                complaints.append(told.text) if told.type in ("error", "warning") else None
            ),
        )
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.goto(path)
        return page

    start.complaints = complaints
    yield start
    for context in contexts:
        context.close()
    assert complaints == []
