// The spectra of an object, each divided by its median so that their shapes compare.
(() => {
  "use strict";
  const hue = (which) => (which * 137.5 + 210) % 360;

  const start = async (figure) => {
    const answer = await fetch(`${figure.dataset.spectra}?normalization=median`, { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const { data } = await answer.json();
    const rows = Array.isArray(data) ? data : data.spectra;
    const hidden = new Set();
    const colour = (which) => `hsl(${hue(which)} 60% ${window.firstlight.isDark() ? 68 : 38}%)`;
    const name = (row) => [row.observed_at.slice(0, 10), row.instrument_name, row.label].filter(Boolean).join(" · ");
    const chart = new window.firstlight.Chart(figure.querySelector("[data-stage]"), {
      label: `${rows.length} spectra of ${figure.dataset.name}. Plus and minus zoom, zero shows all.`,
    });
    const legend = figure.querySelector("[data-legend]");
    const show = (whole) => {
      chart.show({
        whole, x: { label: "Wavelength (Å)" }, y: { label: "Flux / median", up: true },
        series: rows.map((row, which) => ({
          name: name(row), color: colour(which), line: true, hidden: hidden.has(which),
          x: Float64Array.from(row.wavelengths), y: Float64Array.from(row.fluxes, (each) => (each === null ? NaN : each)),
        })),
      });
      for (const button of legend.children) {
        const which = Number(button.dataset.which);
        button.setAttribute("aria-pressed", String(!hidden.has(which)));
        button.querySelector("i").style.color = colour(which);
      }
    };
    legend.replaceChildren(...rows.map((row, which) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "key";
      button.dataset.which = String(which);
      button.append(document.createElement("i"), name(row));
      return button;
    }));
    figure.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.which) {
        const which = Number(button.dataset.which);
        if (!hidden.delete(which)) hidden.add(which);
        show(false);
      }
      if ("whole" in button.dataset) chart.whole();
      if ("zoomIn" in button.dataset) chart.zoom(1 / 1.4);
      if ("zoomOut" in button.dataset) chart.zoom(1.4);
    });
    document.addEventListener("firstlight:theme", () => show(false));
    show(true);
    figure.classList.add("ready");
  };

  for (const figure of document.querySelectorAll("[data-spectra]")) start(figure).catch(() => {});
})();
