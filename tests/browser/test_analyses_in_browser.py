"""Analyses in a browser: a service is added, tried and run; what comes of it is looked at."""

import base64
import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest
from matplotlib.figure import Figure
from patience import expect

pytestmark = pytest.mark.slow

SETTINGS = """
[outgoing]
allow = ["127.0.0.1"]
"""
STAR = "RRLyr+1"
PAGE = "/objects/RRLyr%2B1"
FAULTS = """() => axe.run().then(({ violations }) => violations.map(
  (each) => `${each.id}: ${each.nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`))"""
PAINTED = """(selector) => {
  const canvas = document.querySelector(selector);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, n) => n % 4 === 3 && value > 0).length;
}"""


class Fitter:
    """A service elsewhere, which goes on when the test says so."""

    def __init__(self):
        self.asked = []
        self.may_go_on = threading.Event()

    def work(self, asked):
        httpx.post(
            asked["progress_url"], json={"progress": 0.4, "message": "walking"}, timeout=60
        ).raise_for_status()
        assert self.may_go_on.wait(60)
        shift = 0.01 * len(self.asked)
        rng = np.random.default_rng(len(self.asked))
        mjd = np.arange(60000.0, 60010.0, 0.25)
        flux = 200 + 50 * np.sin(2 * np.pi * mjd / 0.56)
        curve = np.column_stack([mjd, flux, flux - 5, flux + 5]).tolist()
        analysis = {
            "results": {
                "format": "json",
                "data": {"period": {"value": 0.5672, "error": 0.0003}, "shift": shift},
            },
            "plots": [{"format": "png", "data": _picture(flux)}],
            "posterior_samples": {
                "period": (0.5672 + shift + 3e-4 * rng.normal(size=2000)).tolist(),
                "amplitude": (50 + rng.normal(size=2000)).tolist(),
            },
            "model_lightcurve": {"ztfg": curve},
        }
        done = {"status": "success", "message": "P = 0.5672 d", "analysis": analysis}
        httpx.post(asked["callback_url"], json=done, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def fitter():
    made = Fitter()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, facts):
            body = json.dumps(facts).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self._answer({"status": "active"})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.asked.append(asked)
            threading.Thread(target=made.work, args=(asked,), daemon=True).start()
            self._answer({"status": "pending"})

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.address = f"http://127.0.0.1:{server.server_address[1]}/fit"
    yield made
    made.may_go_on.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module", autouse=True)
def star(portal):
    """A star with points in two filters."""

    def add(path, **facts):
        answer = httpx.post(f"{portal.address}/api/{path}", json=facts, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    telescope = add("telescope", name="T", nickname="T", diameter=1.0, lat=1.0, lon=1.0,
                    elevation=1.0)["id"]  # fmt: skip
    camera = add("instrument", name="Cam", type="imager", band="optical", telescope_id=telescope,
                 filters=["ztfg", "ztfr"])["id"]  # fmt: skip
    add("sources", id=STAR, ra=10.0, dec=10.0)
    mjd = np.arange(60000.0, 60010.0, 0.1)
    flux = 200 + 50 * np.sin(2 * np.pi * mjd / 0.56)
    add("photometry", obj_id=STAR, instrument_id=camera, mjd=mjd.tolist(), flux=flux.tolist(),
        fluxerr=[5.0] * len(mjd), zp=23.9, magsys="ab",
        filter=["ztfg" if n % 2 else "ztfr" for n in range(len(mjd))])  # fmt: skip


def test_a_service_is_added_and_tried(open_page, fitter, axe):
    page = open_page("/admin/analysis_services", bypass_csp=True)
    page.fill("#f-name", "rrl")
    page.fill("#f-display_name", "RR Lyrae fit")
    page.fill("#f-url", fitter.address)
    page.check("text=photometry")
    page.fill(
        "#f-parameters",
        '{"rrl_type": ["ab", "c"], "period": {"type": "number", "maximum": 2, "required": true}}',
    )
    page.click("text=Add the service")
    page.click("text=Test connection")
    page.wait_for_selector(".note.good:has-text('answered 200')")
    _has_no_faults(page, axe)
    page.click("table >> text=RR Lyrae fit")
    page.fill("#f-description", "Fits RR Lyrae stars")
    page.click("text=Save")
    page.wait_for_selector("text=Fits RR Lyrae stars")


def test_a_service_is_run_from_the_page_of_an_object(open_page, fitter, axe):
    page = open_page(PAGE, bypass_csp=True)
    page.click("summary:has-text('RR Lyrae fit')")
    page.select_option("select[name='p.rrl_type']", "c")
    page.fill("input[name='p.period']", "0.56")
    page.check("#analyses >> text=ztfg")
    _has_no_faults(page, axe)
    page.click("text=Run RR Lyrae fit")
    page.wait_for_url(re.compile(r"/analyses/\d+$"))
    page.wait_for_selector("text=walking")
    assert float(page.get_attribute("progress", "value")) == 0.4
    fitter.may_go_on.set()
    page.wait_for_selector("#run-head[data-state='completed']")
    page.wait_for_selector(".toast:has-text('RR Lyrae fit on RRLyr+1')")
    asked = fitter.asked[0]
    assert asked["analysis_parameters"] == {"rrl_type": "c", "period": 0.56}
    assert asked["resource_id"] == STAR
    assert "ztfr" not in asked["inputs"]["photometry"]


def test_what_came_of_it_is_shown(open_page, axe):
    page = open_page(PAGE, bypass_csp=True)
    page.click("#analyses table a")
    page.wait_for_selector(".corner.ready canvas")
    page.wait_for_selector(".legend .key.model[aria-pressed='true']")
    page.wait_for_function(f"({PAINTED})('.corner canvas') > 5000")
    page.wait_for_function(f"({PAINTED})('#light-curve canvas') > 1000")
    assert "0.56720 ± 0.00030" in page.inner_text("#h-results >> xpath=../..")
    _drag(page, ".corner canvas", (90, 60), (160, 80))
    page.wait_for_function("document.querySelector('[data-told]').textContent.includes('samples')")
    _has_no_faults(page, axe)
    page.emulate_media(color_scheme="dark")
    _has_no_faults(page, axe)


def test_two_runs_are_compared(open_page, axe):
    page = open_page(PAGE, bypass_csp=True)
    page.click("#analyses table a")
    page.fill("input[name='p.period']", "0.57")
    before = page.url
    page.click("text=Run again with these")
    expect(page).not_to_have_url(before)
    page.wait_for_selector("#run-head[data-state='completed']")
    page.click("text=To RRLyr")
    boxes = page.locator("#analyses input[name='run']")
    expect(boxes).to_have_count(2)
    for box in boxes.all():
        box.check()
    page.click("text=Compare the ticked ones")
    page.wait_for_selector(".corner.ready canvas")
    expect(page.locator(".corner .legend .key")).to_have_count(2)
    words = page.inner_text("main")
    assert "0.56" in words
    assert "0.57" in words
    _has_no_faults(page, axe)


def test_pages_of_analyses_need_no_scripts(browser, portal):
    context = browser.new_context(base_url=portal.address, java_script_enabled=False)
    page = context.new_page()
    page.goto(PAGE)
    page.click("#analyses table a")
    source = page.get_attribute(".corner img", "src")
    assert source.startswith("/api/obj/analysis/")
    picture = httpx.get(portal.address + source, timeout=60)
    assert picture.content.startswith(b"\x89PNG")
    expect(page.get_by_text("Run again with these")).to_be_visible()
    context.close()


def _has_no_faults(page, axe):
    page.add_script_tag(path=axe)
    assert page.evaluate(FAULTS) == []


def _drag(page, selector, start, end):
    """Drag over a part of an element, wherever on the page it is."""
    page.eval_on_selector(
        selector, "each => each.scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    page.wait_for_timeout(300)
    box = page.query_selector(selector).bounding_box()
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0], box["y"] + end[1], steps=4)
    page.mouse.up()


def _picture(flux):
    figure = Figure(figsize=(4, 3))
    figure.subplots().plot(flux, "k.")
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return base64.b64encode(stream.getvalue()).decode()
