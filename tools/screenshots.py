"""Pictures of every page for the documentation: `python tools/screenshots.py docs/images/pages`.

Makes a workspace with simulated nights, reduces them, serves it on this machine, and drives a
headless Chromium. Nothing but this machine is needed; the same seed gives the same sky.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from astropy.io import fits
from PIL import Image
from playwright.sync_api import BrowserContext, sync_playwright

LARGEST = 150_000  # bytes of a picture
TALLEST = 1500  # pixels; what is below is more of the same
SUPERNOVA = "SN2026abc"
COLOURS = (128, 64, 40)
SHARES = (1.0, 0.8, 0.65, 0.5)
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
ALSO_DARK = ("home", "exposure", "object", "sky-map", "candidates")
ON_PHONE = ("home", "exposures", "exposure", "object", "site", "candidates")
FIRST_NIGHT = "2026-01-15"
SETTLE_MS = {
    "viewer": 6000,
    "object": 1500,
    "object-changed": 1500,
    "object-analyses": 2500,
    "analysis": 2500,
    "analyses-compared": 2500,
}
START_S = 300.0
ANALYSIS_S = 300.0
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Server:
    """A workspace that is served."""

    address: str

    def get(self, path: str) -> Any:
        """Ask the API; returns the data of the answer."""
        answer = httpx.get(self.address + path, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()["data"]

    def add(self, path: str, **facts: Any) -> Any:
        """Send JSON to the API; returns the data of the answer."""
        answer = httpx.post(self.address + path, json=facts, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()["data"]

    def post(self, path: str, **form: Any) -> None:
        """Send a form, as a page does."""
        headers = {"Accept": "text/html"}
        httpx.post(self.address + path, data=form, headers=headers, timeout=PATIENCE_S)


def run(*words: str) -> None:
    """Run a command of firstlight; a failure ends all."""
    print("$ firstlight", *words, flush=True)
    subprocess.run([sys.executable, "-m", "firstlight", *words], check=True)


def make_workspace(folder: Path) -> Path:
    """Two sites, a night with calibrations, one in colours, and something that fails."""
    workspace, sent = folder / "workspace", folder / "sent"
    run("init", str(workspace))
    run("simulate-site", str(sent), "--exposures", "16", "--faults")
    run("simulate", str(folder / "demo"), "--exposures", "10")
    run("simulate", str(folder / "colours"), "--exposures", "6", "--camera", "panoptes")
    make_starless(folder / "demo")
    run("-w", str(workspace), "watch", "--once", "--no-reduce", str(sent))
    for night in ("demo", "colours"):
        run("-w", str(workspace), "ingest", str(folder / night))
    run("-w", str(workspace), "reduce")
    return workspace


def make_survey(folder: Path) -> Path:
    """Nights of a mosaic camera in which things change, compared with the first of them."""
    workspace, survey = folder / "survey-workspace", folder / "survey"
    run("simulate-survey", str(survey), "--nights", "3")
    run("init", str(workspace))
    with (workspace / "firstlight.toml").open("a") as settings:
        settings.write((survey / "settings.toml").read_text())
    run("-w", str(workspace), "ingest", str(survey / "raw"))
    run("-w", str(workspace), "reduce")
    run("-w", str(workspace), "reference", "build", "--to", FIRST_NIGHT)
    run("-w", str(workspace), "reduce")
    run("-w", str(workspace), "fakes", "--number", "30")
    return workspace


def make_starless(night: Path) -> None:
    """Put a frame without a star beside the others: under clouds there is nothing to solve."""
    last = max(night.glob("*science*.fits"))
    rng = np.random.default_rng(1)
    with fits.open(last) as frame:
        for hdu in frame:
            if hdu.data is not None:
                middle, spread = np.median(hdu.data), 8.0
                hdu.data = rng.normal(middle, spread, hdu.data.shape).astype(hdu.data.dtype)
        frame.writeto(night / last.name.replace("science", "science_clouds"))


@contextmanager
def served(workspace: Path) -> Iterator[Server]:
    """Serve a workspace on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "firstlight", "-w", str(workspace), "serve"]
    process = subprocess.Popen([*words, "--port", str(port)], stdout=subprocess.DEVNULL)
    server = Server(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + START_S
        while not answers(server):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server did not start: {process.poll()}")
            time.sleep(0.3)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(server: Server) -> bool:
    """Whether the server does."""
    try:
        return httpx.get(server.address + "/sites", timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def fill(server: Server) -> None:
    """People, a group and what else there is to administer."""
    server.post("/admin/users", username="maria", email="maria@example.org")
    server.post("/admin/groups", name="Transits", description="People who follow transits")
    groups = server.get("/api/groups")["all_groups"]
    number = next(group["id"] for group in groups if group["name"] == "Transits")
    server.post(f"/admin/groups/{number}/members", username="maria", admin="true")
    server.post(f"/admin/groups/{number}/sites", site="tst")
    server.post("/admin/tokens", name="dome of tst", scopes=["read", "upload"], sites="tst")
    server.post("/admin/webhooks", url="https://portal.example.org/hook", topics="imagedata")
    server.post("/admin/invitations", email="ana@example.org", groups=[str(number)])
    server.post("/admin/analysis_services/shipped")
    explode(server)


def pages(server: Server) -> dict[str, str]:
    """Name and path of every page."""
    night = server.get("/api/exposures?target=demo%20field&limit=50")["exposures"]
    clouds = next((each for each in night if "clouds" in each["name"]), night[0])
    clear = next(each for each in night if "clouds" not in each["name"])
    colours = server.get("/api/observations?unit=PAN001")["items"][0]
    html = httpx.get(f"{server.address}/exposures/{clear['id']}", timeout=PATIENCE_S).text
    product = html.split("/provenance/", 1)[1].split('"', 1)[0]
    found = {
        "home": "/",
        "sites": "/sites",
        "site": "/sites/tst",
        "all-sky": "/sites/tst/allsky",
        "exposures": "/exposures",
        "exposures-table": "/exposures?view=table",
        "sky-map": "/exposures?view=map&kind=science",
        "exposure": f"/exposures/{clear['id']}",
        "exposure-failed": f"/exposures/{clouds['id']}",
        "viewer": f"/exposures/{clear['id']}/viewer",
        "observations": "/observations",
        "observation": f"/observations/{colours['id']}",
        "jobs": "/jobs",
        "provenance": f"/provenance/{product}",
        "objects": "/objects",
        "admin": "/admin",
        "admin-users": "/admin/users",
        "admin-groups": "/admin/groups",
        "admin-invitations": "/admin/invitations",
        "admin-tokens": "/admin/tokens",
        "admin-webhooks": "/admin/webhooks",
        "admin-expiry": "/admin/expiry",
        "admin-analysis-services": "/admin/analysis_services",
        "profile": "/profile",
        "notifications": "/notifications",
        "sign-in": "/sign-in",
    }
    home = httpx.get(server.address, timeout=PATIENCE_S).text
    if "/source/" in home:
        name = home.split('"/source/', 1)[1].split('"', 1)[0]
        found["object"] = f"/source/{name}"
        analysis = analyse(server, name, html)
        if analysis is not None:
            found["image-analysis"] = f"/source/{name}/image_analyses/{analysis}"
    runs = [run_service(server, choice) for choice in ("nugent-sn1a", "nugent-sn2p")]
    found["object-analyses"] = f"/objects/{quote(SUPERNOVA)}"
    found["analysis"] = f"/objects/{quote(SUPERNOVA)}/analyses/{runs[0]}"
    compared = "&".join(f"run={each}" for each in runs)
    found["analyses-compared"] = f"/objects/{quote(SUPERNOVA)}/analyses/compare?{compared}"
    return found


def survey_pages(server: Server) -> dict[str, str]:
    """Name and path of the pages that tell of what changed."""
    (first,) = server.get("/api/candidates?numPerPage=1")["candidates"]
    return {
        "candidates": "/candidates",
        "quality": "/quality",
        "object-changed": f"/objects/{quote(first['object'])}",
    }


def explode(server: Server) -> None:
    """A supernova that somebody has followed: it rises, fades, and reddens."""
    telescope = server.add("/api/telescope", name="Survey", nickname="S", diameter=1.2, lat=33.0,
                           lon=-117.0, elevation=1700.0)["id"]  # fmt: skip
    camera = server.add("/api/instrument", name="Survey camera", type="imager", band="optical",
                        telescope_id=telescope, filters=["ztfg", "ztfr"])["id"]  # fmt: skip
    server.add("/api/sources", id=SUPERNOVA, ra=150.1, dec=2.2, redshift=0.05)
    rng = np.random.default_rng(3)
    mjd = np.arange(61290.0, 61360.0, 2.0)
    day = mjd - 61310.0
    for band, peak, fade, later in (("ztfg", 300.0, 14.0, 0.0), ("ztfr", 280.0, 24.0, 1.5)):
        flux = peak * np.exp(-(day - later) / fade) / (1 + np.exp(-(day - later + 6) / 3.0))
        flux += rng.normal(0, 6.0, len(mjd))
        server.add("/api/photometry", obj_id=SUPERNOVA, instrument_id=camera, mjd=mjd.tolist(),
                   flux=flux.tolist(), fluxerr=[6.0] * len(mjd), zp=23.9, magsys="ab",
                   filter=band)  # fmt: skip


def run_service(server: Server, template: str) -> int:
    """Fit the supernova, and wait for the end; returns the run's number."""
    rows = server.get("/api/analysis_service")
    fitter = next(each["id"] for each in rows if each["name"] == "supernova")
    path = f"/api/obj/{quote(SUPERNOVA)}/analysis/{fitter}"
    number = int(server.add(path, analysis_parameters={"source": template})["id"])
    deadline = time.monotonic() + ANALYSIS_S
    while time.monotonic() < deadline:
        if server.get(f"/api/obj/analysis/{number}")["status"] not in ("queued", "pending"):
            break
        time.sleep(1)
    return number


def analyse(server: Server, name: str, html: str) -> int | None:
    """Analyse one image of the night at the object; returns the number of the analysis."""
    image = html.split("/images/", 1)[1].split("/", 1)[0]
    content = httpx.get(f"{server.address}/images/{image}/image.fits", timeout=PATIENCE_S).content
    sent = httpx.post(
        f"{server.address}/api/sources/{name}/image_analyses",
        files={"file": ("night.fits", content)},
        timeout=PATIENCE_S,
    )
    if sent.is_error:
        print("no analysis:", sent.text[:300])
        return None
    number = int(sent.json()["data"][0]["id"])
    deadline = time.monotonic() + ANALYSIS_S
    while time.monotonic() < deadline:
        state = server.get(f"/api/sources/{name}/image_analyses/{number}")["state"]
        if state not in ("queued", "running"):
            break
        time.sleep(1)
    return number


def picture(png: bytes) -> bytes:
    """The same picture in few colours, made smaller where that is not enough."""
    whole = Image.open(io.BytesIO(png)).convert("RGB")
    whole = whole.crop((0, 0, whole.width, min(whole.height, TALLEST)))
    content = png
    for share in SHARES:
        size = (round(whole.width * share), round(whole.height * share))
        shown = whole if share == 1.0 else whole.resize(size, Image.Resampling.LANCZOS)
        for colours in COLOURS:
            stream = io.BytesIO()
            # Noise in pictures of stars takes the bytes, and must not take all the colours.
            few = shown.quantize(colours, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(stream, "PNG", optimize=True)
            content = stream.getvalue()
            if len(content) <= LARGEST:
                return content
    return content


def shoot(context: BrowserContext, server: Server, name: str, path: str) -> tuple[bytes, list[str]]:
    """One page as a picture, and what its console complained of."""
    page = context.new_page()
    page.set_default_timeout(PATIENCE_S * 1000)
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda fault: complaints.append(str(fault)))
    page.goto(server.address + path, wait_until="load")
    # Pictures that are loaded when they are looked at.
    page.evaluate(
        "document.querySelectorAll('img[loading=lazy]').forEach(i => i.loading = 'eager')"
    )
    page.wait_for_timeout(SETTLE_MS.get(name, 700))
    # The stream of events never ends, so that no page is ever idle.
    png = page.screenshot(full_page=name != "viewer")
    page.close()
    return png, complaints


def shoot_all(server: Server, chosen: dict[str, str], asked: argparse.Namespace) -> int:
    """Pictures of pages, light, dark and on a phone; returns how many pages complained."""
    wrong = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=asked.chromium)
        for view, options in VIEWS.items():
            context = browser.new_context(**options)
            for name, path in chosen.items():
                wanted = {"light": tuple(chosen), "dark": ALSO_DARK, "phone": ON_PHONE}[view]
                if name not in wanted or (asked.only and name not in asked.only):
                    continue
                png, complaints = shoot(context, server, name, path)
                end = "" if view == "light" else f"-{view}"
                content = picture(png)
                (asked.folder / f"{name}{end}.png").write_bytes(content)
                wrong += bool(complaints)
                print(f"{name}{end}: {len(content) / 1000:.0f} kB", *complaints, flush=True)
            context.close()
        browser.close()
    return wrong


def main() -> int:
    """Write the pictures; tells how many pages complained."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="Its executable.")
    parser.add_argument("--workspace", type=Path, help="One that is there, in place of a new one.")
    parser.add_argument("--only", nargs="*", default=(), help="Names of pages.")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="firstlight-") as folder:
        workspace = asked.workspace or make_workspace(Path(folder))
        with served(workspace) as server:
            fill(server)
            wrong = shoot_all(server, pages(server), asked)
        if asked.workspace is None:
            with served(make_survey(Path(folder))) as server:
                wrong += shoot_all(server, survey_pages(server), asked)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
