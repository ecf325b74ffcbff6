"""The archive's pages in a real browser: complaints, access, phones, keyboards, live parts."""

import datetime as dt
import re
import uuid

import pytest

from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.web.static_files import static_address

expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = [
    pytest.mark.slow,
    # A browser that leaves a page breaks pictures off; their files close when they are forgotten.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PAGES = (
    "/", "/sites", "/sites/DemoTelescope", "/exposures", "/exposures?view=table",
    "/exposures?view=map", "EXPOSURE", "/observations", "/jobs", "PRODUCT", "/admin",
    "/admin/users", "/admin/groups", "/admin/invitations", "/admin/tokens", "/admin/webhooks",
    "/admin/expiry", "/profile",
)  # fmt: skip


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
def test_a_page_is_quiet_and_open_to_all(look, address, axe_source, name):
    path = address(name)
    phone = look(path, width=390, height=844)
    assert phone.complaints == []
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390, "nothing sticks out"
    for scheme in ("light", "dark"):
        page = look(path, color_scheme=scheme, bypass_csp=True)
        page.evaluate(axe_source)
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
    assert page.locator(".grid.exposures .thumb").count() == 6
    page.get_by_role("link", name="Sky map").click()
    assert page.locator(".map polygon").count() >= 1
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
    assert page.locator("#sources").is_hidden()


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
    page.wait_for_selector("body[data-viewer=ready]", timeout=30_000)
    box = page.locator("#JS9").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2 + 3)
    expect(page.locator("#js9-told")).to_contain_text("RA ")
    page.get_by_label("Stretch").select_option("log")
    page.get_by_role("button", name="Add a region").click()
    assert page.evaluate("JS9.GetRegions('all').length") == 1
    assert page.complaints == []


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
        page.wait_for_selector(f'#strip a[href="/exposures/{row.id}"]', timeout=10_000)
        assert page.evaluate("window.stays")
    finally:
        with reduced_workspace.database.begin() as session:
            session.delete(session.get_one(Exposure, row.id))
