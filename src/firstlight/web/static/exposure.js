// The picture of an exposure: sources that can be hidden, and told of when pointed at.
(() => {
  "use strict";
  const sources = document.getElementById("sources");
  const told = document.getElementById("source-told");
  const toggle = document.getElementById("toggle-sources");
  if (!sources || !told) return;
  const words = told.textContent;
  const circles = [...sources.querySelectorAll("circle")].map((node) => ({
    node, x: Number(node.getAttribute("cx")), y: Number(node.getAttribute("cy")),
  }));
  const height = sources.viewBox.baseVal.height;
  let near = null;

  const show = (found) => {
    if (found === near) return;
    if (near) near.node.classList.remove("near");
    near = found;
    if (!found) { told.textContent = words; return; }
    found.node.classList.add("near");
    const { m, s } = found.node.dataset;
    const place = `x ${(found.x - 0.5).toFixed(1)}, y ${(height - 0.5 - found.y).toFixed(1)}`;
    told.textContent = `${m === undefined ? "" : `${m} mag, `}S/N ${s}, ${place}`;
  };

  sources.parentElement.addEventListener("pointermove", (event) => {
    const matrix = sources.getScreenCTM();
    if (!matrix || sources.hasAttribute("hidden")) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const reach = 14 / matrix.a;
    let best = null;
    let least = reach * reach;
    for (const each of circles) {
      const gap = (each.x - at.x) ** 2 + (each.y - at.y) ** 2;
      if (gap < least) { least = gap; best = each; }
    }
    show(best);
  });
  sources.parentElement.addEventListener("pointerleave", () => show(null));

  if (toggle) {
    toggle.addEventListener("click", () => {
      const hidden = sources.toggleAttribute("hidden");
      toggle.setAttribute("aria-pressed", String(!hidden));
      toggle.textContent = hidden ? "Show sources" : "Hide sources";
      show(null);
    });
  }
})();
