// The FITS viewer: JS9 with our own controls, read-out and the detected sources as a layer.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const told = document.getElementById("js9-told");
  const by = (id) => document.getElementById(id);
  const JS9 = window.JS9;
  if (!JS9 || !told) return;
  const sexagesimal = (value, signed) => {
    const whole = Math.abs(value);
    const [a, b] = [Math.floor(whole), Math.floor((whole * 60) % 60)];
    const c = ((whole * 3600) % 60).toFixed(signed ? 1 : 2);
    return `${signed ? (value < 0 ? "-" : "+") : ""}${String(a).padStart(2, "0")}:${String(b).padStart(2, "0")}:${c.padStart(signed ? 4 : 5, "0")}`;
  };

  // The plate solution of the section (TAN, with SIP polynomials): it is kept beside the image,
  // not in its header, so that the viewer does not know it. Pixels count from one here.
  const terms = (name) => Object.entries(data.wcs || {}).flatMap(([key, value]) => {
    const found = key.match(new RegExp(`^${name}_(\\d)_(\\d)$`));
    return found ? [[Number(found[1]), Number(found[2]), value]] : [];
  });
  const [termsA, termsB] = [terms("A"), terms("B")];
  const toSky = (x, y) => {
    const c = data.wcs;
    const [u, v] = [x - c.CRPIX1, y - c.CRPIX2];
    const sum = (list) => list.reduce((all, [p, q, value]) => all + value * u ** p * v ** q, 0);
    const [a, b] = [u + sum(termsA), v + sum(termsB)];
    const turn = Math.PI / 180;
    const xi = (c.CD1_1 * a + c.CD1_2 * b) * turn;
    const eta = (c.CD2_1 * a + c.CD2_2 * b) * turn;
    const dec0 = c.CRVAL2 * turn;
    const depth = Math.cos(dec0) - eta * Math.sin(dec0);
    const ra = c.CRVAL1 + Math.atan2(xi, depth) / turn;
    const dec = Math.atan2(Math.sin(dec0) + eta * Math.cos(dec0), Math.hypot(xi, depth)) / turn;
    return { ra: ((ra % 360) + 360) % 360, dec };
  };

  // Where the pointer is: pixel, value, position.
  const tell = (im, ipos) => {
    const wcs = data.wcs ? toSky(ipos.x, ipos.y) : JS9.PixToWCS(ipos.x, ipos.y, { display: im });
    const x = Math.floor(ipos.x - 0.5);
    const y = Math.floor(ipos.y - 0.5);
    const raw = im.raw;
    const inside = x >= 0 && y >= 0 && x < raw.width && y < raw.height;
    const light = inside ? raw.data[y * raw.width + x] : null;
    const place = wcs && Number.isFinite(wcs.ra)
      ? `  RA ${sexagesimal(wcs.ra / 15, false)}  Dec ${sexagesimal(wcs.dec, true)}  (${wcs.ra.toFixed(5)} ${wcs.dec.toFixed(5)})` : "";
    told.textContent = `x ${(ipos.x - 1).toFixed(1)}  y ${(ipos.y - 1).toFixed(1)}`
      + (light === null ? "" : `  value ${Number(light).toPrecision(6)}`) + place;
  };

  const drawSources = () => {
    if (!data.sources.length) return;
    JS9.NewShapeLayer("sources", JS9.Catalogs && JS9.Catalogs.opts ? JS9.Catalogs.opts : {});
    JS9.AddShapes("sources", data.sources.map(([x, y, radius]) => (
      { shape: "circle", x, y, radius, color: "#5ee08a" })), { color: "#5ee08a" });
  };

  const loaded = () => {
    const im = JS9.GetImage();
    if (!im) return;
    told.textContent = `${data.name}: move over the image to read positions and values`;
    try { drawSources(); } catch (fault) { told.textContent = `The sources could not be drawn: ${fault.message || fault}`; }
    JS9.SetZoom("toFit");
    document.body.dataset.viewer = "ready";
  };

  const start = () => {
    // The image fills the width of its place.
    const stage = document.querySelector(".viewer-stage");
    JS9.ResizeDisplay("JS9", Math.floor(stage.clientWidth), Math.floor(window.innerHeight * 0.7));
    JS9.Load(data.url, { onload: loaded, scale: "linear", colormap: "grey" }, { display: "JS9" });
  };

  const wire = () => {
    by("js9-scale").value = "linear";
    by("js9-scale").addEventListener("change", (event) => JS9.SetScale(event.target.value));
    by("js9-colormap").addEventListener("change", (event) => JS9.SetColormap(event.target.value));
    by("js9-invert").addEventListener("click", (event) => {
      const on = event.currentTarget.getAttribute("aria-pressed") !== "true";
      event.currentTarget.setAttribute("aria-pressed", String(on));
      JS9.SetParam("invert", on);
      JS9.RefreshDisplay();
    });
    by("js9-in").addEventListener("click", () => JS9.SetZoom("x2"));
    by("js9-out").addEventListener("click", () => JS9.SetZoom("/2"));
    by("js9-fit").addEventListener("click", () => { JS9.SetZoom("toFit"); JS9.SetPan(); });
    by("js9-circle").addEventListener("click", () => JS9.AddRegions("circle"));
    const toggle = by("js9-sources");
    if (toggle) {
      toggle.addEventListener("click", () => {
        const on = toggle.getAttribute("aria-pressed") !== "true";
        JS9.ShowShapeLayer("sources", on);
        toggle.setAttribute("aria-pressed", String(on));
        toggle.textContent = on ? "Hide sources" : "Show sources";
      });
    }
  };

  // Plugins are told where the mouse is, whatever layer it moves over; `new` makes them.
  JS9.RegisterPlugin("Firstlight", "Readout", function Readout() {}, { onmousemove: tell, winDims: [0, 0] });
  wire();
  if (JS9.inited) start();
  else window.jQuery(document).on("JS9:ready", start);
})();
