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

  // Where the pointer is: pixel, value, position.
  const tell = (im, ipos) => {
    const wcs = JS9.PixToWCS(ipos.x, ipos.y, { display: im });
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

  JS9.imageOpts.onmousemove = (im, ipos) => tell(im, ipos);
  wire();
  if (JS9.inited) start();
  else window.jQuery(document).on("JS9:ready", start);
})();
