"""The archive's pages in a real browser: complaints, access, phones, keyboards, live parts."""

import datetime as dt
import re
import sys
import threading
import uuid
from pathlib import Path

import pytest
import uvicorn

sys.path.append(str(Path(__file__).parents[1] / "web"))
from measured import measure
from patience import PATIENCE_MS, expect

from firstlight.catalogs.tycho2 import Tycho2
from firstlight.factory import Factory
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image as ImageRow
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun
from firstlight.services.night import NightService
from firstlight.simulation import DetectorSettings, NightSettings, simulate_night
from firstlight.web.app import create_app
from firstlight.web.static_files import static_address
from firstlight.work.engine import WorkerSetup
from firstlight.work.inline_engine import InlineEngine

pytestmark = [
    pytest.mark.slow,
    # A browser that leaves a page breaks pictures off; their files close when they are forgotten.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PAGES = (
    "/", "/sites", "/sites/DemoTelescope", "/exposures", "/exposures?view=table",
    "/exposures?view=map", "EXPOSURE", "/observations", "/jobs", "PRODUCT", "/admin",
    "/admin/users", "/admin/groups", "/admin/invitations", "/admin/tokens", "/admin/webhooks",
    "/admin/expiry", "/profile", "/candidates", "/quality",
)  # fmt: skip


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
    factory.archive.ingest(factory.archive.find([folder / "sky"]).files)
    setup = WorkerSetup(
        initializer="firstlight.factory.jobs:start_worker", argument=str(folder / "workspace")
    )
    night = NightService(
        make_engine=lambda: InlineEngine(factory.jobs(), setup), plans=factory.plans()
    )
    with night.running():
        for stage in night.stages():
            stage.run(lambda done: None)
    _something_changed(factory)
    yield factory
    factory.database.dispose()


def _something_changed(factory):
    """Candidates in the latest science exposure, as a comparison with a reference finds them."""
    with factory.database.reading() as session:
        exposure = (
            session.query(Exposure).filter_by(kind="science").order_by(Exposure.mjd).all()[-1]
        )
        section = str(exposure.instrument_object.get_section_ids()[0])
        runs = session.query(StepRun).filter_by(exposure_id=exposure.id, section_id=section)
        ids = {run.step: run.product_id for run in runs}
        rows = {
            "preprocess": session.get(ImageRow, ids["preprocess"]),
            "find_sources": session.get(SourceList, ids["find_sources"]),
            "solve_astrometry": session.get(WorldCoordinates, ids["solve_astrometry"]),
        }
    names = ("FL26aaa", "FL26aab", "FL26aac")
    measure(factory.database, factory.store, exposure, rows, names=names, section=section)


@pytest.fixture(scope="session")
def night(reduced_workspace):
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
    thread.join(60)


@pytest.fixture
def look(browser, night):
    """Open a page; what its console complains of is in `page.complaints`."""
    contexts = []

    def open_page(path, *, width=1280, height=860, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.complaints = []
        page.on(
            "console",
            lambda said: page.complaints.append(said.text) if said.type == "error" else None,
        )
        page.on("pageerror", lambda fault: page.complaints.append(str(fault)))
        page.goto(night + path, wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def exposure(reduced_workspace):
    """The page of a science exposure."""
    with reduced_workspace.database.reading() as session:
        row = session.query(Exposure).filter_by(kind="science").order_by(Exposure.mjd).first()
    return f"/exposures/{row.id}"


@pytest.fixture
def address(exposure, look):
    """The path that a name in `PAGES` stands for."""

    def resolve(name):
        if name == "EXPOSURE":
            return exposure
        if name == "PRODUCT":
            return look(exposure).locator('a[href^="/provenance/"]').first.get_attribute("href")
        return name

    return resolve


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_quiet_and_open_to_all(look, address, axe, name):
    path = address(name)
    phone = look(path, width=390, height=844)
    assert phone.complaints == []
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out"
    for scheme in ("light", "dark"):
        page = look(path, color_scheme=scheme, bypass_csp=True)
        page.evaluate(Path(axe).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        told = [(each["id"], each["nodes"][0]["html"][:200]) for each in found]
        assert told == [], f"{path} in {scheme}"
        assert page.complaints == []


def test_a_search_by_keyboard(look):
    page = look("/exposures")
    page.get_by_label("Target", exact=True).focus()
    page.keyboard.type("demo field")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("target=demo"))
    expect(page.locator(".grid.exposures .thumb")).to_have_count(6)
    page.get_by_role("link", name="Sky map").click()
    expect(page.locator(".map polygon")).not_to_have_count(0)
    page.locator(".map a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/exposures/[0-9a-f-]{36}"))


def test_sources_are_told_of_and_hidden(look, exposure):
    page = look(exposure)
    circle = page.locator("#sources circle").first
    box = circle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#source-told")).to_contain_text("S/N")
    page.get_by_role("button", name="Hide sources").press("Enter")
    expect(page.locator("#sources")).to_be_hidden()


def test_without_scripts_the_picture_has_its_sources(look, exposure):
    page = look(exposure, java_script_enabled=False)
    assert page.locator("#sources circle").count() > 10
    picture = page.locator(".sky-picture img").bounding_box()
    drawn = page.locator("#sources").bounding_box()
    for side in ("x", "y", "width", "height"):
        assert drawn[side] == pytest.approx(picture[side], abs=1.0), "they lie upon each other"
    assert page.get_by_role("button", name="Hide sources").count() == 0


def test_circles_are_where_the_stars_are(look, exposure):
    page = look(exposure)
    brightness = page.evaluate(
        """() => {
          const img = document.querySelector('.sky-picture img');
          const canvas = document.createElement('canvas');
          const box = document.getElementById('sources').viewBox.baseVal;
          canvas.width = img.naturalWidth; canvas.height = img.naturalHeight;
          const context = canvas.getContext('2d');
          context.drawImage(img, 0, 0);
          const at = (x, y) => context.getImageData(
            x * canvas.width / box.width, y * canvas.height / box.height, 1, 1).data[0];
          const found = [...document.querySelectorAll('#sources circle')].slice(0, 30);
          const mean = (list) => list.reduce((sum, each) => sum + each, 0) / list.length;
          const number = (circle, name) => Number(circle.getAttribute(name));
          const place = found.map((circle) => [number(circle, 'cx'), number(circle, 'cy')]);
          return [mean(place.map(([x, y]) => at(x, y))),
                  mean(place.map(([x, y]) => at(x, box.height - y)))];
        }"""
    )
    assert brightness[0] > 2 * brightness[1], "not upside down"


def test_the_viewer_reads_positions(look, exposure):
    if static_address("vendor/js9/js9.min.js") is None:
        pytest.skip("JS9 is not installed: make web")
    page = look(f"{exposure}/viewer")
    page.wait_for_selector(
        "body[data-viewer=ready]",
    )
    box = page.locator("#JS9").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 + 3)
    expect(page.locator("#js9-told")).to_contain_text("RA ")
    page.get_by_label("Stretch").select_option("log")
    page.get_by_role("button", name="Add a region").click()
    page.wait_for_function("JS9.GetRegions('all').length == 1")
    assert page.complaints == []


def test_candidates_are_gone_through_by_keys(look):
    page = look("/candidates")
    cards = page.locator(".candidate")
    expect(cards).to_have_count(3)
    page.click("#keys summary")
    lines = page.locator(".keys dl > div").all()
    assert len({line.bounding_box()["x"] for line in lines}) == 1, "one below the other"
    assert page.locator(".panel.keys").bounding_box()["height"] < 300
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    expect(cards.nth(0)).to_be_focused()
    page.keyboard.press("r")
    expect(cards.nth(0).locator(".chip.good")).to_have_text("real")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("b")
    expect(cards.nth(1).locator(".chip.bad")).to_have_text("bogus")
    page.keyboard.press("k")
    expect(cards.nth(1)).to_be_focused()
    page.keyboard.press("u")
    expect(cards.nth(1).locator(".chip.bad")).to_have_count(0)
    page.evaluate("document.activeElement.blur()")  # as a click beside the cards does
    page.keyboard.press("b")
    expect(page.locator(".toast")).to_contain_text("Choose a candidate first")
    page.keyboard.press("k")
    expect(cards.nth(0)).to_be_focused()
    page.reload()
    expect(page.locator(".candidate .chip.good")).to_have_count(1)
    expect(page.locator(".candidate .chip.bad")).to_have_count(0)
    cards.nth(0).locator("img").scroll_into_view_if_needed()
    assert (
        cards.nth(0).locator("img").evaluate("each => each.decode().then(() => each.naturalWidth)")
    )
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_url("**/objects/*")
    assert page.complaints == []


def test_a_renewed_list_keeps_the_candidate_chosen_unless_it_was_left(look):
    page = look("/candidates")
    renew = """async () => {
      document.querySelector(".candidate .name").append("until it is renewed");
      const renewed = new Promise((done) => {
        addEventListener("firstlight:fresh", done, { once: true });
      });
      document.dispatchEvent(new CustomEvent("firstlight:event", { detail: { topic: "gap" } }));
      await renewed;
    }"""
    page.keyboard.press("j")
    page.evaluate(renew)
    expect(page.locator(".candidate").nth(0)).to_be_focused()
    page.evaluate("document.activeElement.blur()")  # as a click beside the cards does
    page.evaluate(renew)
    assert page.evaluate("document.activeElement === document.body")
    expect(page.get_by_text("until it is renewed")).to_have_count(0)


def test_what_comes_is_shown_without_a_reload(look, reduced_workspace):
    page = look("/sites/DemoTelescope")
    page.wait_for_selector(".live.on")
    page.evaluate("window.stays = true")
    now = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    mjd = (now - MJD_EPOCH) / dt.timedelta(days=1)
    row = Exposure(
        nofile=True, instrument="GenericFITS", site="DemoTelescope", kind="flat", mjd=mjd,
        sort_mjd=mjd, exp_time=1.0, label="just-come", target="just come", filter="V",
        night=now.date(), collection="data",
    )  # fmt: skip
    row.id = uuid.uuid4()
    with reduced_workspace.database.begin() as session:
        session.add(row)
        record_events(session, [Event(topic="imagedata", site="DemoTelescope", data={})])
    try:
        page.wait_for_selector(f'#strip a[href="/exposures/{row.id}"]')
        assert page.evaluate("window.stays")
    finally:
        with reduced_workspace.database.begin() as session:
            session.delete(session.get_one(Exposure, row.id))
