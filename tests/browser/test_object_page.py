"""The page of an object in a browser: 50,000 points, every control, every colour, every width."""

import gzip
import json
import uuid

import numpy as np
import pytest
from patience import expect

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.audience import public_audience
from firstlight.models.database import bulk_insert
from firstlight.models.instrument_record import instrument_number
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.services.objects.object_summary import summarise

pytestmark = pytest.mark.slow

N = 50_000
PERIOD = 2.15
STAR = "/objects/Big"
MOST_BYTES = 2_000_000
WATCH_SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
FAULTS = """() => axe.run().then(({ violations }) => violations.map(
  (each) => `${each.id}: ${each.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`))"""
PAINTED = """() => {
  const { data } = document.querySelector("#light-curve canvas").getContext("2d")
    .getImageData(0, 0, 600, 300);
  return data.filter((value, n) => n % 4 === 3 && value > 0).length;
}"""


@pytest.fixture(scope="module", autouse=True)
def big(portal):
    """A star with a sine wave in two filters, and a few upper limits."""
    rng = np.random.default_rng(1)
    mjd = np.sort(rng.uniform(58_000, 60_500, N))
    flux = 200 * (1 + 0.25 * np.sin(2 * np.pi * mjd / PERIOD)) + rng.normal(0, 8, N)
    with portal.database.begin() as session:
        audience = public_audience(session)
        row = Object(
            id=uuid.uuid4(), name="Big", ra=31.3, dec=46.6, origin="test", audience_id=audience,
            hpx=int(healpix_index(31.3, 46.6)),
        )  # fmt: skip
        session.add(row)
        session.flush()
        camera = instrument_number(session, "Camera")
        bulk_insert(session, Photometry, [
            {
                "key": uuid.uuid4(), "object_id": row.id, "audience_id": audience,
                "mjd": float(mjd[n]), "filter": "r" if n % 2 else "g", "instrument_id": camera,
                "flux_ujy": None if n % 50 == 0 else float(flux[n]), "flux_err_ujy": 8.0,
                "limiting_mag": 20.5, "origin": "test",
            }
            for n in range(N)
        ])  # fmt: skip
        summarise(session, [row.id])


def test_fifty_thousand_points_are_drawn_without_a_jolt(open_page):
    page = open_page("/notifications")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    came = []
    session.on("Network.loadingFinished", lambda told: came.append(told["encodedDataLength"]))
    page.add_init_script(WATCH_SHIFTS)
    page.goto(STAR)
    page.wait_for_selector(f"#light-curve[data-points='{N}']")
    page.wait_for_selector("img.first", state="detached")
    page.wait_for_function(f"({PAINTED})() > 5000")
    page.wait_for_load_state("networkidle")
    assert sum(came) < MOST_BYTES
    assert page.evaluate("window.shifted") < 0.01


def test_what_the_server_draws_first_stays_without_scripts(open_page):
    page = open_page(STAR, java_script_enabled=False)
    picture = page.locator("img.first")
    expect(picture).to_be_visible()
    assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") > 0
    expect(page.locator(".segments").first).to_be_hidden()
    page.fill("#f-comment", "without scripts")
    page.click("#comments button:has-text('Comment')")
    page.wait_for_selector("#comments >> text=without scripts")


def test_the_plot_is_folded_searched_and_selected(open_page):
    page = open_page(STAR)
    page.wait_for_selector("#light-curve[data-points]")
    page.fill("#period", str(PERIOD))
    page.click("[data-fold] button:has-text('Fold'):not([type])")
    page.wait_for_selector("[data-unfold]", state="visible")
    page.click("[data-unfold]")
    page.click("[data-find-period]")
    page.wait_for_selector("[data-unfold]", state="visible")
    assert abs(float(page.input_value("#period")) - PERIOD) < 0.001
    page.click("[data-unfold]")
    page.click("[data-quantity=flux]")
    expect(page.locator("[data-quantity=flux]")).to_have_attribute("aria-pressed", "true")
    page.click(".legend .key >> nth=0")
    expect(page.locator(".legend .key").first).to_have_attribute("aria-pressed", "false")
    page.click("[data-mode=select]")
    box = page.locator("#light-curve canvas").bounding_box()
    page.mouse.move(box["x"] + 200, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 300, box["y"] + 350, steps=4)
    page.mouse.up()
    page.wait_for_selector("[data-selected] tbody tr")
    with page.expect_download() as waiting:
        page.click("[data-csv]")
    lines = waiting.value.path().read_text().splitlines()
    count = int(page.inner_text("[data-told]").split()[0])
    assert len(lines) == count + 1 > 500
    assert lines[0].startswith("id,mjd,flux")
    filters = {line.split(",")[-3] for line in lines[1:]}
    assert len(filters) == 1, "what is hidden is not chosen"


def test_the_plot_by_keyboard(open_page):
    page = open_page(STAR)
    page.wait_for_selector("#light-curve[data-points]")
    page.locator("#light-curve canvas").focus()
    tip = page.locator("[data-tip]")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("MJD")
    first = tip.inner_text()
    page.keyboard.press("ArrowRight")
    expect(tip).not_to_have_text(first, use_inner_text=True)
    page.keyboard.press("ArrowLeft")
    expect(tip).to_have_text(first, use_inner_text=True)
    page.keyboard.press("+")
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    page.wait_for_selector("[data-tip]", state="hidden")


def test_what_only_fades_is_shown_in_fluxes(open_page, portal):
    with portal.database.begin() as session:
        audience = public_audience(session)
        row = Object(
            id=uuid.uuid4(), name="Fading", ra=31.4, dec=46.6, origin="test",
            audience_id=audience, hpx=int(healpix_index(31.4, 46.6)),
        )  # fmt: skip
        session.add(row)
        session.flush()
        camera = instrument_number(session, "Camera")
        bulk_insert(session, Photometry, [
            {
                "key": uuid.uuid4(), "object_id": row.id, "audience_id": audience,
                "mjd": 60_000.0 + n, "filter": "r", "instrument_id": camera,
                "flux_ujy": -40.0 - n, "flux_err_ujy": 1.0, "limiting_mag": 22.0,
                "origin": "forced",
            }
            for n in range(4)
        ])  # fmt: skip
        summarise(session, [row.id])
    page = open_page("/objects/Fading")
    page.wait_for_selector("#light-curve[data-points='4']")
    expect(page.locator("[data-quantity=flux]")).to_have_attribute("aria-pressed", "true")


def test_comments_and_classes_without_leaving_the_page(open_page):
    page = open_page(STAR)
    page.on("dialog", lambda dialog: dialog.accept())
    page.evaluate("window.stayed = true")
    page.fill("#f-comment", "a remark")
    page.click("#comments button:has-text('Comment')")
    page.wait_for_selector("#comments >> text=a remark")
    page.click("#fold-classify summary")
    page.select_option("#f-class", index=3)
    page.click("#classifications form:has(#f-class) button")
    page.wait_for_selector("#classifications .said button.small:has-text('0')")
    assert page.evaluate("window.stayed"), "only a part of the page was renewed"


def test_others_see_a_new_point_at_once(open_page, portal):
    page = open_page(STAR)
    page.wait_for_selector(f"#light-curve[data-points='{N}']")
    page.wait_for_selector(".live.on")
    sent = {"obj_id": "Big", "mjd": 60_600.0, "filter": "sdssi", "mag": 18.0, "magerr": 0.1,
            "limiting_mag": 20.0, "magsys": "ab", "instrument_id": 1}  # fmt: skip
    answer = page.request.post("/api/photometry", data=json.dumps(sent),
                               headers={"Content-Type": "application/json"})  # fmt: skip
    assert answer.ok, answer.text()
    page.wait_for_selector(f"#light-curve[data-points='{N + 1}']")
    page.wait_for_selector("#points >> text=60600.00000", state="attached")


@pytest.mark.parametrize("colours", ["dark", "light"])
@pytest.mark.parametrize("width", [1360, 390])
def test_nothing_to_stumble_on(open_page, axe, colours, width):
    view = {"width": width, "height": 900}
    page = open_page(STAR, color_scheme=colours, viewport=view, bypass_csp=True)
    for path in (STAR, "/objects", f"{STAR}/image_analysis", "/notifications"):
        page.goto(path)
        page.wait_for_timeout(500)
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wider) <= 0, f"{path} is wider than the window"
        page.add_script_tag(path=axe)
        assert page.evaluate(FAULTS) == [], path


def test_colours_are_chosen_and_kept(open_page):
    page = open_page("/objects", color_scheme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("[data-theme-toggle]")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.goto(STAR)
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light


def test_the_packed_columns_are_small(portal, open_page):
    page = open_page("/objects")
    body = page.request.get(f"{STAR}/light_curve.bin").body()
    assert len(gzip.compress(body, 4)) < 1_200_000
