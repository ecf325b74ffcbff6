// A posterior as a corner plot: each parameter by itself on the diagonal, each pair below it.
//
// A box drawn over a pair, or a range over a histogram, chooses samples: they are shown in all
// panels, and what they have in common is told. Several runs or models lie over one another.
//
// <figure data-corner="/api/obj/analysis/7/posterior ..." data-titles="..."> with a [data-stage],
// a [data-legend], a [data-parameters] for the boxes and a [data-told] for words.
(() => {
  "use strict";
  const ROOM = { left: 64, bottom: 56, top: 26, right: 8, gap: 6 };
  const FIRST = 6; // parameters shown at the beginning
  const BINS = 32;
  const HUES = [215, 28, 150, 330];
  const FONT = "12px system-ui, sans-serif";
  const SMALL = "11px system-ui, sans-serif";

  const quantile = (sorted, part) => {
    if (!sorted.length) return NaN;
    const at = part * (sorted.length - 1);
    const low = Math.floor(at);
    return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  };

  const shown = (value, error) => {
    if (!Number.isFinite(value)) return "";
    const size = Math.abs(value);
    const least = error > 0 ? error : size * 1e-3 || 1e-3;
    if (size >= 1e7 || (size > 0 && size < 1e-5)) return value.toExponential(2).replace("-", "−");
    const digits = Math.min(8, Math.max(0, 1 - Math.floor(Math.log10(least))));
    return value.toFixed(digits).replace("-", "−");
  };

  const told = (values) => {
    const sorted = Float64Array.from(values).sort();
    const middle = quantile(sorted, 0.5);
    const up = quantile(sorted, 0.84) - middle, down = middle - quantile(sorted, 0.16);
    const least = Math.min(up, down) || Math.max(up, down);
    return { middle, up, down, words: `${shown(middle, least)} +${shown(up, least)} −${shown(down, least)}` };
  };

  class Corner {
    constructor(figure, sets) {
      this.figure = figure;
      this.sets = sets;
      this.find = (name) => figure.querySelector(`[data-${name}]`);
      this.stage = this.find("stage");
      this.hidden = new Set();
      this.chosen = null;
      this.drag = null;
      const names = [...new Set(sets.flatMap((set) => Object.keys(set.samples)))];
      this.parameters = names;
      this.open = new Set(names.slice(0, FIRST));
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("role", "img");
      this.pen = this.canvas.getContext("2d");
      this.stage.replaceChildren(this.canvas);
      this.legend();
      this.boxes();
      this.listen();
      new ResizeObserver(() => this.later()).observe(this.stage);
      document.addEventListener("firstlight:theme", () => this.later());
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.later());
      figure.classList.add("ready");
      this.later();
    }

    get names() { return this.parameters.filter((name) => this.open.has(name)); }

    later() {
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.draw(); });
    }

    colour(which, alpha = 1) { return `hsl(${HUES[which % HUES.length]} 65% ${window.firstlight.isDark() ? 65 : 42}% / ${alpha})`; }

    // The range of a parameter over all that is shown; the last thousandths do not widen it.
    range(name) {
      let low = Infinity, high = -Infinity;
      this.sets.forEach((set, which) => {
        if (this.hidden.has(which) || !set.samples[name]) return;
        const sorted = (set.sorted ||= {})[name] ||= Float64Array.from(set.samples[name]).sort();
        low = Math.min(low, quantile(sorted, 0.001));
        high = Math.max(high, quantile(sorted, 0.999));
      });
      if (!(high > low)) { const pad = Math.abs(low) * 1e-3 || 0.5; low -= pad; high += pad; }
      const pad = (high - low) * 0.04;
      return [low - pad, high + pad];
    }

    layout() {
      const { width } = this.stage.getBoundingClientRect();
      const count = Math.max(1, this.names.length);
      const side = Math.min(230, Math.max(56, (width - ROOM.left - ROOM.right) / count - ROOM.gap));
      const height = ROOM.top + ROOM.bottom + count * (side + ROOM.gap);
      this.stage.style.height = `${height}px`;
      const ratio = window.devicePixelRatio || 1;
      this.canvas.style.height = `${height}px`;
      if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
        this.canvas.width = Math.round(width * ratio);
        this.canvas.height = Math.round(height * ratio);
      }
      this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      Object.assign(this, { side, width, height });
      this.ranges = Object.fromEntries(this.names.map((name) => [name, this.range(name)]));
    }

    cell(column, row) {
      const step = this.side + ROOM.gap;
      return { x: ROOM.left + column * step, y: ROOM.top + row * step, side: this.side };
    }

    toX({ x, side }, name, value) { const [low, high] = this.ranges[name]; return x + (value - low) / (high - low) * side; }
    toY({ y, side }, name, value) { const [low, high] = this.ranges[name]; return y + side - (value - low) / (high - low) * side; }

    draw() {
      this.layout();
      const { pen, names } = this;
      const probe = getComputedStyle(this.figure);
      const of = (name) => probe.getPropertyValue(name).trim();
      this.ink = { text: probe.color, quiet: of("--ink-quiet"), line: of("--ink-line"), accent: of("--ink-accent") };
      pen.clearRect(0, 0, this.width, this.height);
      this.canvas.setAttribute("aria-label", `Corner plot of ${names.join(", ")}. ${this.summary()}`);
      for (let row = 0; row < names.length; row += 1) {
        for (let column = 0; column <= row; column += 1) {
          const cell = this.cell(column, row);
          pen.save();
          pen.beginPath();
          pen.rect(cell.x, cell.y, cell.side, cell.side);
          pen.clip();
          this.sets.forEach((set, which) => {
            if (this.hidden.has(which) || !set.samples[names[column]] || !set.samples[names[row]]) return;
            if (row === column) this.histogram(cell, set, which, names[row]);
            else this.pair(cell, set, which, names[column], names[row]);
          });
          pen.restore();
          pen.strokeStyle = this.ink.line;
          pen.lineWidth = 1;
          pen.strokeRect(cell.x + 0.5, cell.y + 0.5, cell.side - 1, cell.side - 1);
          this.labels(cell, column, row);
        }
      }
      if (this.drag) this.drawBox();
      this.tell();
    }

    summary() {
      const set = this.sets.find((_, which) => !this.hidden.has(which));
      if (!set) return "";
      return this.names.filter((name) => set.samples[name]).map((name) => `${name} ${told(set.samples[name]).words}`).join("; ");
    }

    histogram(cell, set, which, name) {
      const { pen } = this;
      const [low, high] = this.ranges[name];
      const bars = (rows) => {
        const counts = new Float64Array(BINS);
        const values = set.samples[name];
        const one = (value) => { const at = Math.floor((value - low) / (high - low) * BINS); if (at >= 0 && at < BINS) counts[at] += 1; };
        if (rows) for (const row of rows) one(values[row]); else values.forEach(one);
        return counts;
      };
      const all = bars(null);
      const most = Math.max(...all) || 1;
      const outline = (counts, fill) => {
        pen.beginPath();
        pen.moveTo(cell.x, cell.y + cell.side);
        for (let at = 0; at < BINS; at += 1) {
          const top = cell.y + cell.side - counts[at] / most * cell.side * 0.86;
          pen.lineTo(cell.x + at / BINS * cell.side, top);
          pen.lineTo(cell.x + (at + 1) / BINS * cell.side, top);
        }
        pen.lineTo(cell.x + cell.side, cell.y + cell.side);
        if (fill) { pen.fillStyle = fill; pen.fill(); }
        pen.strokeStyle = this.colour(which);
        pen.lineWidth = 1.3;
        pen.stroke();
      };
      outline(all, this.colour(which, 0.18));
      const rows = this.rows(which);
      if (rows) outline(bars(rows), this.colour(which, 0.6));
      const { middle, up, down } = told(set.samples[name]);
      pen.strokeStyle = this.colour(which);
      for (const [value, dash] of [[middle, []], [middle + up, [3, 3]], [middle - down, [3, 3]]]) {
        const x = Math.round(this.toX(cell, name, value)) + 0.5;
        pen.setLineDash(dash);
        pen.beginPath();
        pen.moveTo(x, cell.y);
        pen.lineTo(x, cell.y + cell.side);
        pen.stroke();
      }
      pen.setLineDash([]);
    }

    // Density in cells, and the samples themselves where there are few.
    pair(cell, set, which, across, up) {
      const { pen } = this;
      const [xs, ys] = [set.samples[across], set.samples[up]];
      const [x0, x1] = this.ranges[across], [y0, y1] = this.ranges[up];
      const bins = Math.max(12, Math.min(BINS, Math.round(Math.sqrt(xs.length) / 2.5)));
      const counts = new Float64Array(bins * bins);
      for (let n = 0; n < xs.length; n += 1) {
        const column = Math.floor((xs[n] - x0) / (x1 - x0) * bins), row = Math.floor((ys[n] - y0) / (y1 - y0) * bins);
        if (column >= 0 && column < bins && row >= 0 && row < bins) counts[row * bins + column] += 1;
      }
      const most = Math.max(...counts) || 1;
      const size = cell.side / bins;
      for (let row = 0; row < bins; row += 1) {
        for (let column = 0; column < bins; column += 1) {
          const share = counts[row * bins + column] / most;
          if (share < 0.02) continue;
          pen.fillStyle = this.colour(which, 0.08 + 0.7 * share);
          pen.fillRect(cell.x + column * size, cell.y + cell.side - (row + 1) * size, size + 0.5, size + 0.5);
        }
      }
      pen.fillStyle = this.colour(which, 0.45);
      const stride = Math.max(1, Math.ceil(xs.length / 3000));
      for (let n = 0; n < xs.length; n += stride) {
        const column = Math.floor((xs[n] - x0) / (x1 - x0) * bins), row = Math.floor((ys[n] - y0) / (y1 - y0) * bins);
        if (counts[row * bins + column] / most < 0.06) pen.fillRect(this.toX(cell, across, xs[n]) - 0.7, this.toY(cell, up, ys[n]) - 0.7, 1.4, 1.4);
      }
      const rows = this.rows(which);
      if (!rows) return;
      pen.fillStyle = this.ink.accent;
      const every = Math.max(1, Math.ceil(rows.length / 3000));
      for (let at = 0; at < rows.length; at += every) pen.fillRect(this.toX(cell, across, xs[rows[at]]) - 0.9, this.toY(cell, up, ys[rows[at]]) - 0.9, 1.8, 1.8);
    }

    labels(cell, column, row) {
      const { pen, names } = this;
      pen.fillStyle = this.ink.text;
      pen.font = FONT;
      pen.textAlign = "center";
      if (row === column) {
        const set = this.sets.find((each, which) => !this.hidden.has(which) && each.samples[names[row]]);
        pen.textBaseline = "bottom";
        pen.font = SMALL;
        if (set && cell.side > 70) pen.fillText(told(set.samples[names[row]]).words, cell.x + cell.side / 2, cell.y - 4, cell.side * 1.6);
      }
      pen.font = SMALL;
      if (row === names.length - 1) {
        const [low, high] = this.ranges[names[column]];
        pen.textBaseline = "top";
        pen.fillStyle = this.ink.quiet;
        const words = (part) => shown(low + part * (high - low), (high - low) / 10);
        const wide = pen.measureText(words(0.5)).width + 10;
        const parts = cell.side * 0.3 > wide ? [0.2, 0.5, 0.8] : cell.side * 0.56 > wide ? [0.22, 0.78] : [0.5];
        for (const part of parts) pen.fillText(words(part), cell.x + part * cell.side, cell.y + cell.side + 5);
        pen.fillStyle = this.ink.text;
        pen.font = FONT;
        pen.fillText(names[column], cell.x + cell.side / 2, cell.y + cell.side + 26, cell.side);
      }
      if (column === 0 && row > 0) {
        const [low, high] = this.ranges[names[row]];
        pen.textAlign = "right";
        pen.textBaseline = "middle";
        pen.font = SMALL;
        pen.fillStyle = this.ink.quiet;
        for (const part of cell.side > 80 ? [0.2, 0.8] : [0.5]) pen.fillText(shown(low + part * (high - low), (high - low) / 10), cell.x - 5, cell.y + (1 - part) * cell.side, ROOM.left - 22);
        pen.save();
        pen.translate(9, cell.y + cell.side / 2);
        pen.rotate(-Math.PI / 2);
        pen.textAlign = "center";
        pen.font = FONT;
        pen.fillStyle = this.ink.text;
        pen.fillText(names[row], 0, 0, cell.side);
        pen.restore();
      }
    }

    drawBox() {
      const { pen, drag } = this;
      pen.strokeStyle = pen.fillStyle = this.ink.accent;
      pen.globalAlpha = 0.15;
      pen.fillRect(drag.fromX, drag.fromY, drag.nowX - drag.fromX, drag.nowY - drag.fromY);
      pen.globalAlpha = 1;
      pen.strokeRect(drag.fromX, drag.fromY, drag.nowX - drag.fromX, drag.nowY - drag.fromY);
    }

    // Numbers of the chosen samples of a set; null where nothing is chosen.
    rows(which) {
      if (!this.chosen) return null;
      const { samples } = this.sets[which];
      const bounds = Object.entries(this.chosen).filter(([name]) => samples[name]);
      const found = [];
      const count = Math.max(0, ...Object.values(samples).map((values) => values.length));
      for (let n = 0; n < count; n += 1) if (bounds.every(([name, [low, high]]) => samples[name][n] >= low && samples[name][n] <= high)) found.push(n);
      return found;
    }

    tell() {
      const place = this.find("told");
      if (!place) return;
      const parts = [];
      this.sets.forEach((set, which) => {
        const rows = this.rows(which);
        if (this.hidden.has(which) || !rows) return;
        const total = Math.max(1, ...Object.values(set.samples).map((values) => values.length));
        const facts = this.names.filter((name) => set.samples[name] && rows.length > 1).map((name) => `${name} ${told(rows.map((row) => set.samples[name][row])).words}`);
        parts.push(`${this.sets.length > 1 ? `${set.name}: ` : ""}${rows.length} samples (${(100 * rows.length / total).toFixed(1)} %). ${facts.join("; ")}`);
      });
      place.textContent = parts.join(" · ");
      this.find("clear").hidden = !this.chosen;
    }

    legend() {
      const place = this.find("legend");
      place.hidden = this.sets.length < 2;
      place.replaceChildren(...this.sets.map((set, which) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "key";
        button.setAttribute("aria-pressed", "true");
        const dot = document.createElement("i");
        dot.style.color = this.colour(which);
        button.append(dot, set.name);
        button.addEventListener("click", () => {
          if (!this.hidden.delete(which)) this.hidden.add(which);
          button.setAttribute("aria-pressed", String(!this.hidden.has(which)));
          this.later();
        });
        return button;
      }));
    }

    boxes() {
      const place = this.find("parameters");
      place.replaceChildren(...this.parameters.map((name) => {
        const label = document.createElement("label");
        label.className = "check small";
        const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: this.open.has(name) });
        box.addEventListener("change", () => {
          if (box.checked) this.open.add(name); else this.open.delete(name);
          this.later();
        });
        label.append(box, name);
        return label;
      }));
    }

    at(event) {
      const { left, top } = this.canvas.getBoundingClientRect();
      const x = event.clientX - left, y = event.clientY - top;
      const step = this.side + ROOM.gap;
      const column = Math.floor((x - ROOM.left) / step), row = Math.floor((y - ROOM.top) / step);
      const inside = column >= 0 && row >= column && row < this.names.length;
      return { x, y, column, row, inside };
    }

    listen() {
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => {
        const { x, y, column, row, inside } = this.at(event);
        if (!inside || event.button !== 0 || event.pointerType === "touch") return;
        canvas.setPointerCapture(event.pointerId);
        this.drag = { column, row, fromX: x, fromY: y, nowX: x, nowY: y };
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!this.drag) return;
        const { x, y } = this.at(event);
        const cell = this.cell(this.drag.column, this.drag.row);
        this.drag.nowX = Math.min(Math.max(x, cell.x), cell.x + cell.side);
        this.drag.nowY = Math.min(Math.max(y, cell.y), cell.y + cell.side);
        this.later();
      });
      canvas.addEventListener("pointerup", () => {
        if (this.drag) this.choose(this.drag);
        this.drag = null;
        this.later();
      });
      canvas.addEventListener("pointercancel", () => { this.drag = null; this.later(); });
      this.find("clear").addEventListener("click", () => { this.chosen = null; this.later(); });
    }

    choose({ column, row, fromX, fromY, nowX, nowY }) {
      if (Math.hypot(nowX - fromX, nowY - fromY) < 5) { this.chosen = null; return; }
      const cell = this.cell(column, row);
      const [across, up] = [this.names[column], this.names[row]];
      const back = (name, part) => { const [low, high] = this.ranges[name]; return low + part * (high - low); };
      const bounds = (name, one, other) => [back(name, Math.min(one, other)), back(name, Math.max(one, other))];
      const chosen = { [across]: bounds(across, (fromX - cell.x) / cell.side, (nowX - cell.x) / cell.side) };
      if (column !== row) chosen[up] = bounds(up, 1 - (fromY - cell.y) / cell.side, 1 - (nowY - cell.y) / cell.side);
      this.chosen = chosen;
    }
  }

  const start = async (figure) => {
    const titles = (figure.dataset.titles || "").split("|");
    const answers = await Promise.all(figure.dataset.corner.split(" ").map(async (url) => {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      return answer.ok ? (await answer.json()).data : { models: {} };
    }));
    const sets = answers.flatMap(({ models }, which) => Object.entries(models).map(([model, samples]) => ({
      name: [titles[which], model].filter(Boolean).join(" · "), samples,
    })));
    if (sets.length) new Corner(figure, sets);
  };

  for (const figure of document.querySelectorAll("[data-corner]")) start(figure).catch(() => {});
})();
