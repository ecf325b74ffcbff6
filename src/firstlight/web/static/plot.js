// A plot on a canvas, quick with a hundred thousand points: zoom, pan, hover, selection by a box.
//
// new firstlight.Chart(box, { label, onHover(point|null), onSelect(indices) }) draws into an
// element that has its size already. chart.show({ series, x, y }) takes series of
//   { name, color, marker, line, x, y, low, high, limit, key }
// arrays of one length: y errors as low and high ends, which are a band around a line, `limit`
// marks upper limits, `key` is the
// number of the point in the caller's columns. x and y are { label, up, offset, integer }.
(() => {
  "use strict";
  const MARGIN = { left: 58, right: 14, top: 12, bottom: 44 };
  const MARKERS = ["circle", "square", "diamond", "cross", "star"];
  const CELL = 14;
  const MANY = 3000; // points, above which they are drawn as dots
  const FONT = "12px system-ui, sans-serif";

  const step = (span, count) => {
    const rough = span / Math.max(1, count);
    const power = 10 ** Math.floor(Math.log10(rough));
    const nice = [1, 2, 2.5, 5, 10].find((each) => each * power >= rough) || 10;
    return nice * power;
  };

  const multiples = (low, high, size) => {
    const values = [];
    for (let n = Math.ceil(low / size); n * size <= high && values.length < 60; n += 1) values.push(n * size);
    return values;
  };

  // One number alone tells no scale: there are two at least, however narrow the plot is.
  const ticks = (low, high, count) => {
    if (!(high > low)) return { values: [], digits: 0 };
    let size = step(high - low, count);
    let values = multiples(low, high, size);
    for (let more = 1; values.length < 2 && more < 4; more += 1) {
      size = step(high - low, count + more);
      values = multiples(low, high, size);
    }
    let digits = Math.max(0, -Math.floor(Math.log10(size) + 1e-9));
    if (Math.abs(size * 10 ** digits - Math.round(size * 10 ** digits)) > 1e-6) digits += 1;
    return { values, digits: Math.min(digits, 12) };
  };

  const shown = (value, digits) => {
    const size = Math.abs(value);
    if (size >= 1e6 || (size > 0 && size < 1e-4 && digits > 5)) return value.toExponential(1).replace("-", "−");
    return value.toFixed(digits).replace("-", "−");
  };

  // Red, green and blue of a colour, as the canvas understands it.
  const colourOf = (color) => {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    probe.fillStyle = color;
    probe.fillRect(0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data;
  };

  class Chart {
    constructor(box, { label, onHover = () => {}, onSelect = null, onDraw = () => {} }) {
      this.box = box;
      this.onHover = onHover;
      this.onSelect = onSelect;
      this.onDraw = onDraw;
      this.series = [];
      this.axes = { x: {}, y: {} };
      this.view = null;
      this.mode = "zoom";
      this.drag = null;
      this.marked = null;
      this.fingers = new Map();
      this.left = MARGIN.left;
      this.canvas = document.createElement("canvas");
      this.canvas.tabIndex = 0;
      this.canvas.setAttribute("role", "img");
      this.canvas.setAttribute("aria-label", label);
      this.pen = this.canvas.getContext("2d");
      box.append(this.canvas);
      new ResizeObserver(() => this.later()).observe(box);
      document.addEventListener("firstlight:theme", () => this.later());
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.later());
      this.listen();
    }

    // What is drawn. The view is kept unless `whole`.
    show({ series, x, y, whole = true }) {
      this.series = series;
      this.axes = { x, y };
      this.marked = null;
      if (whole || !this.view) this.view = this.extent();
      this.later();
    }

    whole() { this.view = this.extent(); this.later(); }

    zoom(factor, atX = 0.5, atY = 0.5) {
      const { x0, x1, y0, y1 } = this.view;
      const cx = x0 + (x1 - x0) * atX;
      const cy = y0 + (y1 - y0) * atY;
      this.view = {
        x0: cx + (x0 - cx) * factor, x1: cx + (x1 - cx) * factor,
        y0: cy + (y0 - cy) * factor, y1: cy + (y1 - cy) * factor,
      };
      this.later();
    }

    pan(byX, byY) {
      const { x0, x1, y0, y1 } = this.view;
      const dx = (x1 - x0) * byX;
      const dy = (y1 - y0) * byY;
      this.view = { x0: x0 + dx, x1: x1 + dx, y0: y0 + dy, y1: y1 + dy };
      this.later();
    }

    later() {
      if (this.pending) return;
      this.pending = true;
      requestAnimationFrame(() => { this.pending = false; this.draw(); });
    }

    // A range that holds all points; a few wild ones do not spoil it.
    extent() {
      let x0 = Infinity, x1 = -Infinity;
      const ys = [];
      const stride = Math.max(1, Math.floor(this.series.reduce((n, s) => n + s.x.length, 0) / 20000));
      const few = stride === 1 && this.series.every((series) => series.x.length <= 200);
      for (const { x, y, low, high, line } of this.series) {
        for (let n = 0; n < x.length; n += 1) {
          if (!Number.isFinite(y[n]) || !Number.isFinite(x[n])) continue;
          if (x[n] < x0) x0 = x[n];
          if (x[n] > x1) x1 = x[n];
          if (line || n % stride === 0) ys.push(y[n]);
          if (few && low && Number.isFinite(low[n])) ys.push(low[n], high[n]);
        }
      }
      if (ys.length === 0) return { x0: 0, x1: 1, y0: 0, y1: 1 };
      ys.sort((a, b) => a - b);
      let [y0, y1] = [ys[0], ys[ys.length - 1]];
      if (ys.length > 40) {
        const low = ys[Math.floor(ys.length * 0.01)];
        const high = ys[Math.ceil(ys.length * 0.99) - 1];
        const room = (high - low) * 0.8 || 1e-3;
        y0 = Math.max(y0, low - room);
        y1 = Math.min(y1, high + room);
      }
      const ownX = this.axes.x.range;
      if (ownX) [x0, x1] = ownX;
      const padX = ownX ? 0 : (x1 - x0) * 0.03 || 0.5;
      const padY = (y1 - y0) * 0.08 || Math.abs(y0) * 0.01 || 0.1;
      return { x0: x0 - padX, x1: x1 + padX, y0: y0 - padY, y1: y1 + padY };
    }

    get plotWidth() { return this.width - this.left - MARGIN.right; }
    get plotHeight() { return this.height - MARGIN.top - MARGIN.bottom; }
    toX(value) { return this.left + (value - this.view.x0) / (this.view.x1 - this.view.x0) * this.plotWidth; }
    toY(value) {
      const part = (value - this.view.y0) / (this.view.y1 - this.view.y0);
      return MARGIN.top + (this.axes.y.up === false ? part : 1 - part) * this.plotHeight;
    }
    fromX(px) { return this.view.x0 + (px - this.left) / this.plotWidth * (this.view.x1 - this.view.x0); }
    fromY(py) {
      const part = (py - MARGIN.top) / this.plotHeight;
      return this.view.y0 + (this.axes.y.up === false ? part : 1 - part) * (this.view.y1 - this.view.y0);
    }

    colours() {
      const probe = getComputedStyle(this.box);
      const of = (name) => probe.getPropertyValue(name).trim();
      return { text: probe.color, quiet: of("--ink-quiet"), line: of("--ink-line"), accent: of("--ink-accent"), ground: of("--ink-ground") };
    }

    fit() {
      const { width, height } = this.box.getBoundingClientRect();
      const ratio = window.devicePixelRatio || 1;
      if (this.width !== width || this.height !== height || this.ratio !== ratio) {
        Object.assign(this, { width, height, ratio });
        this.canvas.width = Math.round(width * ratio);
        this.canvas.height = Math.round(height * ratio);
      }
      this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    }

    draw() {
      if (!this.view) return;
      this.fit();
      if (this.width < 40 || this.height < 40) return;
      const { pen } = this;
      const colours = this.colours();
      pen.clearRect(0, 0, this.width, this.height);
      this.makeRoom();
      this.drawAxes(colours);
      pen.save();
      pen.beginPath();
      pen.rect(this.left, MARGIN.top, this.plotWidth, this.plotHeight);
      pen.clip();
      this.near = new Map();
      const placed = [];
      for (const series of this.series) {
        if (series.hidden) continue;
        if (series.line) this.drawLine(series);
        else this.drawErrors(series, colours, placed);
      }
      this.drawMarkers(placed);
      if (this.marked) this.drawMark(colours);
      if (this.drag && this.drag.box) this.drawBox(colours);
      pen.restore();
      this.onDraw(this);
    }

    // At the left there is room for the longest number of the axis.
    makeRoom() {
      const { values, digits } = ticks(Math.min(this.view.y0, this.view.y1), Math.max(this.view.y0, this.view.y1), this.plotHeight / 55);
      this.pen.font = FONT;
      const widest = Math.max(0, ...values.map((value) => this.pen.measureText(shown(value, digits)).width));
      this.left = Math.max(44, Math.ceil(widest) + 32);
    }

    drawAxes({ text, quiet, line }) {
      const { pen, view } = this;
      const xTicks = ticks(view.x0 - (this.axes.x.offset || 0), view.x1 - (this.axes.x.offset || 0), this.plotWidth / 95);
      const yTicks = ticks(Math.min(view.y0, view.y1), Math.max(view.y0, view.y1), this.plotHeight / 55);
      pen.lineWidth = 1;
      pen.strokeStyle = line;
      pen.beginPath();
      const bottom = MARGIN.top + this.plotHeight;
      for (const value of xTicks.values) {
        const px = Math.round(this.toX(value + (this.axes.x.offset || 0))) + 0.5;
        pen.moveTo(px, MARGIN.top); pen.lineTo(px, bottom);
      }
      for (const value of yTicks.values) {
        const py = Math.round(this.toY(value)) + 0.5;
        pen.moveTo(this.left, py); pen.lineTo(this.left + this.plotWidth, py);
      }
      pen.rect(this.left + 0.5, MARGIN.top + 0.5, this.plotWidth - 1, this.plotHeight - 1);
      pen.stroke();
      pen.fillStyle = quiet;
      pen.font = FONT;
      pen.textAlign = "center"; pen.textBaseline = "top";
      for (const value of xTicks.values) {
        const words = shown(value, xTicks.digits);
        const last = this.width - pen.measureText(words).width / 2; // beyond it the last digits are cut off
        pen.fillText(words, Math.min(last, this.toX(value + (this.axes.x.offset || 0))), bottom + 6);
      }
      pen.textAlign = "right"; pen.textBaseline = "middle";
      for (const value of yTicks.values) pen.fillText(shown(value, yTicks.digits), this.left - 7, this.toY(value));
      pen.fillStyle = text;
      pen.textAlign = "center"; pen.textBaseline = "bottom";
      pen.fillText(this.axes.x.label || "", this.left + this.plotWidth / 2, this.height - 3);
      pen.save();
      pen.translate(13, MARGIN.top + this.plotHeight / 2);
      pen.rotate(-Math.PI / 2);
      pen.textBaseline = "middle";
      pen.fillText(this.axes.y.label || "", 0, 0);
      pen.restore();
    }

    drawLine({ x, y, low, high, color }) {
      const { pen } = this;
      if (low) this.drawBand({ x, low, high, color });
      pen.strokeStyle = color;
      pen.lineWidth = 1.2;
      pen.beginPath();
      let down = false;
      for (let n = 0; n < x.length; n += 1) {
        if (!Number.isFinite(y[n])) { down = false; continue; }
        const px = this.toX(x[n]), py = this.toY(y[n]);
        if (down) pen.lineTo(px, py); else pen.moveTo(px, py);
        down = true;
      }
      pen.stroke();
    }

    // What a line may be off by, upwards and downwards.
    drawBand({ x, low, high, color }) {
      const { pen } = this;
      const known = [...x.keys()].filter((n) => Number.isFinite(low[n]) && Number.isFinite(high[n]));
      pen.beginPath();
      for (const n of known) pen.lineTo(this.toX(x[n]), this.toY(high[n]));
      for (const n of known.reverse()) pen.lineTo(this.toX(x[n]), this.toY(low[n]));
      pen.closePath();
      pen.fillStyle = color;
      pen.globalAlpha = 0.18;
      pen.fill();
      pen.globalAlpha = 1;
    }

    // Points that would fall on one another are drawn once.
    drawErrors(series, { ground }, placed) {
      const { pen, view } = this;
      const { x, y, low, high, limit, color } = series;
      const wide = Math.ceil(this.width), tall = Math.ceil(this.height);
      const seen = new Uint8Array(wide * tall);
      const found = [];
      for (let n = 0; n < x.length; n += 1) {
        if (!(x[n] >= view.x0 && x[n] <= view.x1)) continue;
        const py = this.toY(y[n]);
        if (!(py >= MARGIN.top - 8 && py <= this.height)) continue;
        const px = this.toX(x[n]);
        const cell = (Math.floor(py / CELL) << 12) | Math.floor(px / CELL);
        const inCell = this.near.get(cell);
        if (inCell) inCell.push(series, n); else this.near.set(cell, [series, n]);
        const place = Math.floor(py) * wide + Math.floor(px);
        if (seen[place]) continue;
        seen[place] = 1;
        found.push({ px, py, n });
      }
      const many = found.length;
      const size = many > 12000 ? 1.2 : many > 3000 ? 1.8 : many > 600 ? 2.4 : 3.4;
      if (low && many < 30000 && !series.bare) {
        pen.strokeStyle = color;
        pen.globalAlpha = many > 3000 ? 0.13 : many > 600 ? 0.3 : 0.5;
        pen.lineWidth = 1;
        pen.beginPath();
        for (const { px, n } of found) {
          if ((limit && limit[n]) || !Number.isFinite(low[n])) continue;
          pen.moveTo(px, this.toY(low[n]));
          pen.lineTo(px, this.toY(high[n]));
        }
        pen.stroke();
        pen.globalAlpha = 1;
      }
      const full = this.stamp(series.marker || "circle", size, color, ground);
      const triangle = this.stamp("limit", Math.max(3, size), color, ground);
      for (const { px, py, n } of found) placed.push({ px, py, stamp: limit && limit[n] ? triangle : full });
    }

    // All series are mixed, so that none hides another.
    drawMarkers(placed) {
      const count = placed.length;
      const stride = count % 7919 === 0 ? 1 : 7919;
      const many = count > MANY;
      const page = many ? new ImageData(this.canvas.width, this.canvas.height) : null;
      const pixels = many ? new Uint32Array(page.data.buffer) : null;
      for (let n = 0, at = 0; n < count; n += 1, at = (at + stride) % count) {
        const { px, py, stamp: { picture, half, size, ink, points } } = placed[at];
        if (many) this.dot(pixels, px, py, { size, ink, points });
        else this.pen.drawImage(picture, px - half, py - half, 2 * half, 2 * half);
      }
      if (!many) return;
      // Pixels are set directly: a hundred times faster than so many pictures.
      const layer = document.createElement("canvas");
      layer.width = page.width;
      layer.height = page.height;
      layer.getContext("2d").putImageData(page, 0, 0);
      this.pen.drawImage(layer, 0, 0, this.width, this.height);
    }

    // A square, or a triangle that points down for a limit.
    dot(pixels, px, py, { size, ink, points }) {
      const wide = this.canvas.width;
      const side = Math.max(2, Math.round((points ? 2.2 : 1.6) * size * this.ratio));
      const left = Math.round(px * this.ratio - side / 2), top = Math.round(py * this.ratio - side / 2);
      for (let row = 0; row < side; row += 1) {
        const y = top + row, narrower = points ? Math.floor(row / 2) : 0;
        if (y < 0 || y >= this.canvas.height || side <= 2 * narrower) continue;
        const from = y * wide + Math.max(0, left + narrower);
        pixels.fill(ink, from, Math.min(y * wide + left + side - narrower, (y + 1) * wide));
      }
    }

    // A marker, drawn once and used for all points.
    stamp(marker, size, color, ground) {
      const half = Math.ceil(size + 2);
      const picture = document.createElement("canvas");
      picture.width = picture.height = Math.ceil(2 * half * this.ratio);
      const pen = picture.getContext("2d");
      pen.scale(picture.width / (2 * half), picture.width / (2 * half));
      pen.translate(half, half);
      pen.fillStyle = pen.strokeStyle = color;
      pen.lineWidth = 1.4;
      pen.beginPath();
      if (marker === "circle") pen.arc(0, 0, size, 0, 7);
      else if (marker === "square") pen.rect(-size * 0.9, -size * 0.9, size * 1.8, size * 1.8);
      else if (marker === "diamond") { pen.moveTo(0, -size * 1.2); pen.lineTo(size * 1.2, 0); pen.lineTo(0, size * 1.2); pen.lineTo(-size * 1.2, 0); pen.closePath(); }
      else if (marker === "cross") { pen.moveTo(-size, -size); pen.lineTo(size, size); pen.moveTo(size, -size); pen.lineTo(-size, size); }
      else if (marker === "limit") { pen.moveTo(-size, -size * 0.8); pen.lineTo(size, -size * 0.8); pen.lineTo(0, size); pen.closePath(); }
      else for (let n = 0; n < 10; n += 1) { const r = n % 2 ? size * 0.55 : size * 1.3; pen.lineTo(r * Math.sin(n * Math.PI / 5), -r * Math.cos(n * Math.PI / 5)); }
      if (marker === "cross") pen.stroke();
      else if (marker === "limit") { pen.fillStyle = ground; pen.fill(); pen.stroke(); }
      else {
        pen.fill();
        if (size > 2) { pen.strokeStyle = ground; pen.lineWidth = 0.8; pen.stroke(); }
      }
      const [red, green, blue] = colourOf(color);
      return { picture, half, size, points: marker === "limit", ink: ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0 };
    }

    drawMark({ accent }) {
      const { series, index } = this.marked;
      const { pen } = this;
      pen.strokeStyle = accent;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(this.toX(series.x[index]), this.toY(series.y[index]), 8, 0, 7);
      pen.stroke();
    }

    drawBox({ accent }) {
      const { pen } = this;
      const { fromX, fromY, nowX, nowY } = this.drag;
      pen.strokeStyle = pen.fillStyle = accent;
      pen.globalAlpha = 0.14;
      pen.fillRect(fromX, fromY, nowX - fromX, nowY - fromY);
      pen.globalAlpha = 1;
      pen.lineWidth = 1;
      pen.strokeRect(fromX, fromY, nowX - fromX, nowY - fromY);
    }

    // The point at a place of the canvas, at most 12 pixels away.
    at(px, py) {
      let best = null, least = 12 * 12;
      const column = Math.floor(px / CELL), row = Math.floor(py / CELL);
      for (let dr = -1; dr <= 1; dr += 1) {
        for (let dc = -1; dc <= 1; dc += 1) {
          const cell = this.near && this.near.get(((row + dr) << 12) | (column + dc));
          if (!cell) continue;
          for (let n = 0; n < cell.length; n += 2) {
            const series = cell[n], index = cell[n + 1];
            const far = (this.toX(series.x[index]) - px) ** 2 + (this.toY(series.y[index]) - py) ** 2;
            if (far < least) { least = far; best = { series, index }; }
          }
        }
      }
      return best;
    }

    mark(point) {
      const same = point && this.marked && point.series === this.marked.series && point.index === this.marked.index;
      if (same || (!point && !this.marked)) return;
      this.marked = point;
      this.later();
      this.onHover(point && {
        ...point, key: point.series.key ? point.series.key[point.index] : point.index,
        px: this.toX(point.series.x[point.index]), py: this.toY(point.series.y[point.index]),
      });
    }

    // The next visible point by x, for those who use the keyboard.
    walk(direction) {
      const from = this.marked ? this.marked.series.x[this.marked.index] : (direction > 0 ? -Infinity : Infinity);
      let best = null, least = Infinity;
      for (const series of this.series) {
        if (series.hidden || series.line) continue;
        for (let n = 0; n < series.x.length; n += 1) {
          const value = series.x[n];
          if (!(value >= this.view.x0 && value <= this.view.x1) || !Number.isFinite(series.y[n])) continue;
          const far = from === -Infinity ? value : from === Infinity ? -value : (value - from) * direction;
          if (far < least && (Number.isFinite(from) ? far > 0 : true)) { least = far; best = { series, index: n }; }
        }
      }
      if (best) this.mark(best);
    }

    inBox({ fromX, fromY, nowX, nowY }) {
      const [left, right] = [Math.min(fromX, nowX), Math.max(fromX, nowX)];
      const [top, bottom] = [Math.min(fromY, nowY), Math.max(fromY, nowY)];
      const found = new Set();
      for (const series of this.series) {
        if (series.hidden || series.line) continue;
        for (let n = 0; n < series.x.length; n += 1) {
          const px = this.toX(series.x[n]), py = this.toY(series.y[n]);
          if (px >= left && px <= right && py >= top && py <= bottom) found.add(series.key ? series.key[n] : n);
        }
      }
      return [...found];
    }

    place(event) {
      const { left, top } = this.canvas.getBoundingClientRect();
      return [event.clientX - left, event.clientY - top];
    }

    listen() {
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => {
        const [px, py] = this.place(event);
        this.fingers.set(event.pointerId, [px, py]);
        if (event.button !== 0 || this.fingers.size > 1) { this.drag = null; return; }
        if (event.pointerType !== "touch" || this.mode !== "zoom") canvas.setPointerCapture(event.pointerId);
        const panning = this.mode === "pan" || event.shiftKey;
        this.drag = { fromX: px, fromY: py, nowX: px, nowY: py, panning, touch: event.pointerType === "touch" };
      });
      canvas.addEventListener("pointermove", (event) => {
        const [px, py] = this.place(event);
        if (this.fingers.has(event.pointerId) && this.fingers.size === 2) { this.pinch(event.pointerId, px, py); return; }
        const { drag } = this;
        if (!drag) { this.mark(this.at(px, py)); return; }
        if (drag.touch && this.mode === "zoom") return;
        if (drag.panning) {
          const dy = (py - drag.nowY) / this.plotHeight;
          this.pan(-(px - drag.nowX) / this.plotWidth, this.axes.y.up === false ? -dy : dy);
        }
        drag.nowX = px; drag.nowY = py;
        drag.box = !drag.panning && Math.hypot(px - drag.fromX, py - drag.fromY) > 5;
        this.later();
      });
      const end = (event) => {
        this.fingers.delete(event.pointerId);
        const { drag } = this;
        this.drag = null;
        if (drag && drag.box && event.type === "pointerup") this.finish(drag);
        else if (drag && !drag.panning && event.type === "pointerup") this.mark(this.at(drag.nowX, drag.nowY));
        this.later();
      };
      canvas.addEventListener("pointerup", end);
      canvas.addEventListener("pointercancel", end);
      canvas.addEventListener("pointerleave", (event) => { if (!this.drag && event.pointerType === "mouse") this.mark(null); });
      canvas.addEventListener("dblclick", () => this.whole());
      canvas.addEventListener("wheel", (event) => {
        // The wheel scrolls the page, as everywhere, unless the plot was chosen or a key is held.
        if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        const [px, py] = this.place(event);
        const part = (py - MARGIN.top) / this.plotHeight;
        this.zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, (px - this.left) / this.plotWidth, this.axes.y.up === false ? part : 1 - part);
      }, { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event));
      canvas.addEventListener("blur", () => this.mark(null));
    }

    pinch(id, px, py) {
      const [other] = [...this.fingers].filter(([each]) => each !== id).map(([, where]) => where);
      const [wasX, wasY] = this.fingers.get(id);
      const before = Math.hypot(wasX - other[0], wasY - other[1]);
      const now = Math.hypot(px - other[0], py - other[1]);
      this.fingers.set(id, [px, py]);
      if (now > 10 && before > 10) this.zoom(before / now, (other[0] - this.left) / this.plotWidth, 0.5);
    }

    finish(drag) {
      if (this.mode === "select" && this.onSelect) { this.onSelect(this.inBox(drag)); return; }
      const xs = [this.fromX(drag.fromX), this.fromX(drag.nowX)].sort((a, b) => a - b);
      const ys = [this.fromY(drag.fromY), this.fromY(drag.nowY)].sort((a, b) => a - b);
      if (xs[1] > xs[0] && ys[1] > ys[0]) this.view = { x0: xs[0], x1: xs[1], y0: ys[0], y1: ys[1] };
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const down = this.axes.y.up === false ? 0.15 : -0.15;
      const actions = {
        "+": () => this.zoom(1 / 1.3), "=": () => this.zoom(1 / 1.3), "-": () => this.zoom(1.3), 0: () => this.whole(),
        ArrowLeft: () => (event.shiftKey ? this.pan(-0.15, 0) : this.walk(-1)),
        ArrowRight: () => (event.shiftKey ? this.pan(0.15, 0) : this.walk(1)),
        Escape: () => this.mark(null),
      };
      if (event.shiftKey) Object.assign(actions, { ArrowUp: () => this.pan(0, -down), ArrowDown: () => this.pan(0, down) });
      const action = actions[event.key];
      if (action) { event.preventDefault(); action(); }
    }
  }

  window.firstlight = Object.assign(window.firstlight || {}, { Chart, MARKERS });
})();
