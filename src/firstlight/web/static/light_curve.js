// The light curve of an object: magnitudes, fluxes or relative fluxes, in time or folded.
(() => {
  "use strict";
  const { Chart, MARKERS, isDark } = window.firstlight;
  const ZERO_POINT = 23.9;
  const SHOWN_ROWS = 200;
  // Hue and saturation by what a filter lets through; the lightness follows the page's.
  const BANDS = [
    [/^(clear|white|none|luminance|l|open|)$/, 205, 25], [/^(u|uv.*|nuv|fuv|johnson_?u)$/, 285, 65],
    [/^(b|bt|blue|t_?b)$/, 220, 75], [/^(g|gp|green|tg)$/, 140, 60], [/^(v|vt|tv)$/, 95, 60],
    [/^(r|rp|rc|red|tr)$/, 5, 70], [/^(i|ip|ic)$/, 32, 75], [/^(z|zp|zs)$/, 325, 50], [/^y/, 345, 35],
    [/^(o|orange)$/, 25, 85], [/^(c|cyan)$/, 185, 70], [/^(h_?alpha|ha)$/, 350, 80], [/^rgb$/, 260, 25],
    ];

  const unpack = async (answer) => {
    const bytes = await answer.arrayBuffer();
    const view = new DataView(bytes);
    const length = view.getUint32(4, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
    const types = { "<f8": Float64Array, "<f4": Float32Array, "<u2": Uint16Array, "<u1": Uint8Array };
    const { n } = head;
    const columns = { n, series: head.series };
    let offset = 8 + length;
    for (const { name, type } of head.columns) {
      const Type = types[type];
      const width = Type.BYTES_PER_ELEMENT;
      const packed = new Uint8Array(bytes, offset, n * width);
      const plain = new Uint8Array(n * width);
      for (let byte = 0; byte < width; byte += 1) {
        for (let row = 0, at = byte, from = byte * n; row < n; row += 1, at += width) plain[at] = packed[from + row];
      }
      columns[name === "series" ? "of" : name] = new Type(plain.buffer);
      offset += n * width;
    }
    return columns;
  };

  // Single precision has seven digits; more would be made up.
  const csvNumber = (column, row) => {
    if (!Number.isFinite(column[row])) return "";
    return column instanceof Float32Array ? String(Number(column[row].toPrecision(7))) : String(column[row]);
  };
  const utc = (mjd) => new Date((mjd - 40587) * 86400000).toISOString().replace("T", " ").slice(0, 19);
  const digits = (value, error) => {
    if (!(error > 0)) return value.toFixed(3);
    const places = 1 - Math.floor(Math.log10(error));
    if (places > 9) return value.toPrecision(3);
    if (places >= 0) return value.toFixed(places);
    return (Math.round(value * 10 ** places) * 10 ** -places).toFixed(0);
  };
  const measured = (value, error, unit = "") =>
    `${digits(value, error)}${error > 0 ? ` ± ${digits(error, error)}` : ""}${unit ? ` ${unit}` : ""}`;

  class LightCurve {
    constructor(figure) {
      this.figure = figure;
      this.quantity = null;
      this.fold = null;
      this.hiddenSeries = new Set();
      this.models = [];
      this.find = (name) => figure.querySelector(`[data-${name}]`);
      this.stage = this.find("stage");
      this.tip = this.find("tip");
    }

    async start() {
      const answer = await fetch(this.figure.dataset.lightCurve);
      if (!answer.ok) return; // The picture that the server drew stays.
      this.columns = await unpack(answer);
      this.median = this.medians();
      this.kinds();
      this.figure.classList.add("ready");
      this.chart = new Chart(this.stage, {
        label: `Light curve of ${this.figure.dataset.name}, ${this.columns.n} points. Arrow keys go from point to point, plus and minus zoom, zero shows all.`,
        onHover: (point) => this.hover(point),
        onSelect: (keys) => this.select(keys),
        onDraw: () => { const first = this.find("first"); if (first) first.remove(); },
      });
      this.legend();
      this.listen();
      this.show(true);
      this.figure.dataset.points = String(this.columns.n);
      if (this.figure.dataset.models) await this.fetchModels();
    }

    // What analyses have fitted: lines with bands, at first those that are asked for.
    async fetchModels() {
      const answer = await fetch(this.figure.dataset.models, { headers: { Accept: "application/json" } });
      if (!answer.ok) return;
      const { data } = await answer.json();
      this.models = data.flatMap((run) => Object.entries(run.models).flatMap(([model, filters]) =>
        Object.entries(filters).map(([filter, rows]) => ({
          name: [run.name, model !== run.name && model, filter].filter(Boolean).join(" · "), filter, shown: run.shown, run: run.id,
          mjd: Float64Array.from(rows, (row) => row[0]), flux: [1, 2, 3].map((at) => Float64Array.from(rows, (row) => row[at] ?? NaN)),
        }))));
      this.legend();
      this.show(false);
    }

    modelSeries() {
      if (this.fold || this.quantity === "rel") return [];
      const magnitude = (flux) => (flux > 0 ? ZERO_POINT - 2.5 * Math.log10(flux) : NaN);
      return this.models.filter((model) => model.shown).map(({ name, filter, mjd, flux }) => {
        const [y, low, high] = this.quantity === "mag" ? flux.map((column) => column.map(magnitude)) : flux;
        return { name, color: this.colourOf(filter), line: true, x: mjd, y, low, high };
      });
    }

    colourOf(filter) {
      const which = this.columns.series.findIndex((each) => each.filter === filter);
      return which < 0 ? "hsl(265 45% 55%)" : this.colour(which);
    }

    // Which quantities there are; the first one that most points have is shown first.
    kinds() {
      const { mag, flux, rel, limit, n } = this.columns;
      const count = (column) => (column ? column.reduce((sum, each) => sum + (Number.isFinite(each) ? 1 : 0), 0) : 0);
      const seen = count(mag); // limits alone tell nothing of what fades, whose fluxes are negative
      const have = { mag: seen + (limit ? 1 : 0), flux: count(flux), rel: count(rel) };
      for (const button of this.figure.querySelectorAll("[data-quantity]")) button.disabled = have[button.dataset.quantity] === 0;
      if (seen && (seen >= 0.5 * n || seen >= have.rel)) this.quantity = "mag";
      else this.quantity = ["rel", "flux", "mag"].find((each) => have[each]) || "flux";
    }

    medians() {
      const { flux, of, series, n } = this.columns;
      if (!flux) return [];
      return series.map((_, which) => {
        const own = [];
        for (let row = 0; row < n; row += 1) if (of[row] === which && Number.isFinite(flux[row])) own.push(flux[row]);
        own.sort((a, b) => a - b);
        return own.length ? own[own.length >> 1] : NaN;
      });
    }

    colour(which) {
      const { filter } = this.columns.series[which];
      const dark = isDark();
      const known = BANDS.find(([pattern]) => pattern.test(filter.toLowerCase().replace(/^(ztf|sdss|ps1|lsst|atlas|ptf|des|gaia|bessell|standard|johnson|cousins)(::|_|-)?/, "").replace(/['′ ]/g, "")));
      const [hue, saturation] = known ? known.slice(1) : [(which * 137.5 + 200) % 360, 55];
      const same = this.columns.series.slice(0, which).filter((each) => each.filter === filter).length;
      const light = (dark ? 66 : 40) + (same % 3) * (dark ? 9 : -9);
      return `hsl(${hue} ${saturation}% ${light}%)`;
    }

    marker(which) {
      const instruments = [...new Set(this.columns.series.map((each) => each.instrument + each.origin))];
      const { instrument, origin } = this.columns.series[which];
      return MARKERS[instruments.indexOf(instrument + origin) % MARKERS.length];
    }

    name(which) {
      const { filter, instrument, origin, system } = this.columns.series[which];
      const parts = [filter || "no filter", instrument, origin].filter(Boolean);
      return parts.join(" · ") + (system && system.toLowerCase() !== "ab" && !this.columns.flux ? ` (${system})` : "");
    }

    legend() {
      const place = this.find("legend");
      place.replaceChildren(...this.columns.series.map((_, which) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "key";
        button.dataset.which = String(which);
        button.setAttribute("aria-pressed", "true");
        const dot = document.createElement("i");
        dot.className = this.marker(which);
        const count = this.columns.of.reduce((sum, each) => sum + (each === which ? 1 : 0), 0);
        button.append(dot, `${this.name(which)} `, Object.assign(document.createElement("span"), { className: "quiet", textContent: String(count) }));
        button.title = "Show or hide; with Shift only this one";
        return button;
      }), ...this.models.map((model, at) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "key model";
        button.dataset.model = String(at);
        button.append(document.createElement("i"), model.name);
        button.title = "Show or hide; with Shift all lines of this analysis";
        return button;
      }));
      this.paintLegend();
    }

    paintLegend() {
      for (const button of this.find("legend").children) {
        if (button.dataset.model) {
          const model = this.models[Number(button.dataset.model)];
          button.querySelector("i").style.color = this.colourOf(model.filter);
          button.setAttribute("aria-pressed", String(model.shown));
          continue;
        }
        const which = Number(button.dataset.which);
        button.querySelector("i").style.color = this.colour(which);
        button.setAttribute("aria-pressed", String(!this.hiddenSeries.has(which)));
      }
    }

    // Time of a row: BJD (TDB) where all have it and the curve is folded.
    time(row) {
      const { bjd, mjd } = this.columns;
      return this.fold && this.fold.bjd ? bjd[row] : mjd[row];
    }

    value(row) {
      const c = this.columns;
      if (this.quantity === "mag") {
        if (c.mag && Number.isFinite(c.mag[row])) {
          const error = c.mag_err ? c.mag_err[row] : NaN;
          const weak = c.flux && c.flux_err && Number.isFinite(c.flux[row]) && c.flux[row] < 3 * c.flux_err[row];
          if (!weak) return [c.mag[row], error, 0];
        }
        if (c.limit && Number.isFinite(c.limit[row])) return [c.limit[row], NaN, 1];
        // The signal is below three sigma: what is known is how faint it is at least.
        if (c.flux_err && c.flux_err[row] > 0) return [ZERO_POINT - 2.5 * Math.log10(3 * c.flux_err[row]), NaN, 1];
        return [NaN, NaN, 0];
      }
      if (this.quantity === "flux") {
        if (c.flux && Number.isFinite(c.flux[row])) return [c.flux[row], c.flux_err ? c.flux_err[row] : NaN, 0];
        return c.flux_err && c.flux_err[row] > 0 ? [3 * c.flux_err[row], NaN, 1] : [NaN, NaN, 0];
      }
      if (c.rel && Number.isFinite(c.rel[row])) return [c.rel[row], c.rel_err ? c.rel_err[row] : NaN, 0];
      const middle = this.median[c.of[row]];
      return c.flux && Number.isFinite(c.flux[row]) && middle > 0
        ? [c.flux[row] / middle, c.flux_err ? c.flux_err[row] / middle : NaN, 0] : [NaN, NaN, 0];
    }

    show(whole) {
      const { columns, fold } = this;
      const twice = fold ? 2 : 1;
      const count = new Uint32Array(columns.series.length);
      for (let row = 0; row < columns.n; row += 1) count[columns.of[row]] += 1;
      const made = columns.series.map((_, which) => {
        const size = count[which] * twice;
        return {
          name: this.name(which), color: this.colour(which), marker: this.marker(which), hidden: this.hiddenSeries.has(which),
          x: new Float64Array(size), y: new Float64Array(size), low: new Float64Array(size), high: new Float64Array(size),
          limit: new Uint8Array(size), key: new Uint32Array(size), at: 0, bare: !this.find("errors").checked,
        };
      });
      for (let row = 0; row < columns.n; row += 1) {
        const series = made[columns.of[row]];
        const [y, error, limit] = this.value(row);
        let x = this.time(row);
        if (fold) { x = (x - fold.epoch) / fold.period; x -= Math.floor(x); }
        for (let copy = 0; copy < twice; copy += 1) {
          const at = series.at;
          series.x[at] = x + copy; series.y[at] = y; series.key[at] = row; series.limit[at] = limit;
          series.low[at] = y - error; series.high[at] = y + error;
          series.at += 1;
        }
      }
      const labels = { mag: "Magnitude (AB)", flux: "Flux (µJy)", rel: "Relative flux" };
      this.chart.show({
        series: [...made, ...this.modelSeries()], whole, x: this.timeAxis(), y: { label: labels[this.quantity], up: this.quantity !== "mag" },
      });
      for (const button of this.figure.querySelectorAll("[data-quantity]")) button.setAttribute("aria-pressed", String(button.dataset.quantity === this.quantity));
    }

    timeAxis() {
      const { fold } = this;
      if (fold) return { label: `Phase (period ${Number(fold.period.toPrecision(9))} d, from ${fold.bjd ? "BJD" : "MJD"} ${Number(fold.epoch.toFixed(5))})`, range: [0, 2] };
      const { mjd, n } = this.columns;
      const offset = n && mjd[n - 1] - mjd[0] < 30 ? Math.floor(mjd[0]) : 0;
      return { label: offset ? `MJD − ${offset}` : "MJD (UTC)", offset };
    }

    hover(point) {
      const { tip, columns } = this;
      tip.hidden = !point;
      clearTimeout(this.pictureTimer);
      if (!point) return;
      const row = point.key;
      const lines = [[null, this.name(columns.of[row])], ["UTC", utc(columns.mjd[row])], ["MJD", columns.mjd[row].toFixed(5)]];
      const told = { mag: "AB mag", flux: "Flux", rel: "Relative" };
      const own = this.quantity;
      for (const quantity of ["mag", "flux", "rel"]) {
        this.quantity = quantity;
        const [value, error, limit] = quantity === "rel" && !(columns.rel && Number.isFinite(columns.rel[row])) ? [NaN, NaN, 0] : this.value(row);
        if (Number.isFinite(value)) lines.push([told[quantity], (limit ? (quantity === "mag" ? "> " : "< ") : "") + measured(value, error, quantity === "flux" ? "µJy" : "")]);
      }
      this.quantity = own;
      if (columns.limit && Number.isFinite(columns.limit[row])) lines.push(["Limit", columns.limit[row].toFixed(2)]);
      const list = document.createElement("dl");
      const head = document.createElement("b");
      for (const [term, words] of lines) {
        if (term === null) { head.textContent = words; continue; }
        list.append(Object.assign(document.createElement("dt"), { textContent: term }), Object.assign(document.createElement("dd"), { textContent: words }));
      }
      tip.replaceChildren(head, list);
      if (columns.pictured && columns.pictured[row]) this.picture(columns.id[row]);
      const wide = this.stage.clientWidth;
      tip.style.left = `${Math.min(Math.max(0, point.px + (point.px > wide / 2 ? -tip.offsetWidth - 14 : 14)), wide - tip.offsetWidth)}px`;
      tip.style.top = `${Math.max(0, Math.min(point.py - 20, this.stage.clientHeight - tip.offsetHeight))}px`;
    }

    // The picture is asked for when the pointer rests; its place is kept from the start.
    picture(id) {
      const frame = Object.assign(document.createElement("span"), { className: "frame" });
      this.tip.append(frame);
      this.pictureTimer = setTimeout(() => {
        const image = new Image();
        image.alt = "The image at the object's place";
        image.onload = () => frame.replaceChildren(image);
        image.onerror = () => frame.replaceChildren(Object.assign(document.createElement("span"), { className: "none", textContent: "no picture" }));
        image.src = `/api/photometry/${id}/cutout.png`;
      }, 120);
    }

    select(rows) {
      this.selected = rows.sort((a, b) => this.columns.mjd[a] - this.columns.mjd[b]);
      const place = this.find("selected");
      place.hidden = rows.length === 0;
      if (!rows.length) return;
      place.querySelector("[data-told]").textContent = `${rows.length} point${rows.length === 1 ? "" : "s"} chosen${rows.length > SHOWN_ROWS ? `; the first ${SHOWN_ROWS} are shown, the CSV has all` : ""}`;
      place.querySelector("tbody").replaceChildren(...this.selected.slice(0, SHOWN_ROWS).map((row) => {
        const line = document.createElement("tr");
        for (const [kind, words] of this.cells(row)) line.append(Object.assign(document.createElement("td"), { textContent: words, className: kind }));
        return line;
      }));
    }

    cells(row) {
      const c = this.columns;
      const { filter, instrument, origin } = c.series[c.of[row]];
      const pair = (value, error) => (value && Number.isFinite(value[row]) ? measured(value[row], error ? error[row] : NaN) : "");
      return [
        ["tight number", c.mjd[row].toFixed(5)], ["tight number", utc(c.mjd[row])], ["", filter], ["", [instrument, origin].filter(Boolean).join(" · ")],
        ["tight number", pair(c.mag, c.mag_err)], ["tight number", pair(c.flux, c.flux_err)],
        ["tight number", pair(c.rel, c.rel_err)], ["tight number", c.limit && Number.isFinite(c.limit[row]) ? c.limit[row].toFixed(2) : ""],
      ];
    }

    csv() {
      const c = this.columns;
      const names = ["id", "mjd", "bjd", "flux", "flux_err", "mag", "mag_err", "rel", "rel_err", "limit"].filter((name) => c[name]);
      const quoted = (text) => (/[",\n]/.test(text) || /^[=+\-@]/.test(text) ? `"${(/^[=+\-@]/.test(text) ? "'" : "") + text.replaceAll('"', '""')}"` : text);
      const lines = [[...names, "filter", "instrument", "origin"].join(",")];
      for (const row of this.selected) {
        const { filter, instrument, origin } = c.series[c.of[row]];
        lines.push([...names.map((name) => csvNumber(c[name], row)), quoted(filter), quoted(instrument), quoted(origin)].join(","));
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
      link.download = `${this.figure.dataset.name}_selection.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }

    setFold(period, epoch) {
      const { bjd } = this.columns;
      const all = bjd && bjd.every((each) => Number.isFinite(each));
      // An epoch beyond 2,400,000 is a Julian date; MJD and BJD differ by that and half a day.
      const start = Number.isFinite(epoch) ? epoch : (all ? bjd[0] : this.columns.mjd[0]);
      const scaled = all ? (start < 1e6 ? start + 2400000.5 : start) : (start > 1e6 ? start - 2400000.5 : start);
      this.fold = period > 0 ? { period, epoch: scaled, bjd: Boolean(all) } : null;
      this.find("unfold").hidden = !this.fold;
      this.show(true);
    }

    async findPeriod(button) {
      button.disabled = true;
      const words = button.textContent;
      button.textContent = "Searching…";
      try {
        const answer = await fetch(this.figure.dataset.periods, { headers: { Accept: "application/json" } });
        const told = await answer.json();
        if (!answer.ok) throw new Error(told.message || "The search failed");
        const { best, candidates } = told.data;
        if (!best) throw new Error(told.data.message || "No period was found");
        this.offer(candidates || [best]);
        this.find("period").value = best.period;
        this.setFold(best.period, best.epoch);
      } catch (fault) {
        window.firstlight.toast(fault.message, { kind: "error" });
      } finally {
        button.disabled = false;
        button.textContent = words;
      }
    }

    offer(candidates) {
      const list = this.find("period-list");
      for (const each of candidates) {
        const option = document.createElement("option");
        option.value = each.period;
        option.label = each.label || `${each.period} d`;
        list.append(option);
      }
    }

    listen() {
      const { figure } = this;
      figure.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        if (button.dataset.quantity) { this.quantity = button.dataset.quantity; this.show(true); }
        if (button.dataset.mode) this.setMode(button.dataset.mode);
        if (button.dataset.which) this.toggle(Number(button.dataset.which), event.shiftKey);
        if (button.dataset.model) this.toggleModel(Number(button.dataset.model), event.shiftKey);
        if ("whole" in button.dataset) this.chart.whole();
        if ("zoomIn" in button.dataset) this.chart.zoom(1 / 1.4);
        if ("zoomOut" in button.dataset) this.chart.zoom(1.4);
        if ("unfold" in button.dataset) this.setFold(0);
        if ("csv" in button.dataset) this.csv();
        if ("clear" in button.dataset) this.select([]);
        if ("findPeriod" in button.dataset) this.findPeriod(button);
      });
      const folding = this.find("fold");
      if (folding) folding.addEventListener("submit", (event) => {
        event.preventDefault();
        const epoch = this.find("epoch").value;
        this.setFold(Number(this.find("period").value), epoch === "" ? NaN : Number(epoch));
      });
      this.find("errors").addEventListener("change", () => this.show(false));
      const repaint = () => { this.paintLegend(); this.show(false); };
      document.addEventListener("firstlight:theme", repaint);
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
      document.addEventListener("firstlight:event", ({ detail }) => {
        if (detail.topic === "object" && detail.data.object === figure.dataset.name && detail.data.what === "photometry") this.again();
      });
    }

    setMode(mode) {
      this.chart.mode = mode;
      this.stage.dataset.now = mode;
      for (const each of this.figure.querySelectorAll("[data-mode]")) each.setAttribute("aria-pressed", String(each.dataset.mode === mode));
    }

    toggle(which, alone) {
      const all = this.columns.series.map((_, n) => n);
      if (alone) {
        const only = all.every((n) => (n === which) !== this.hiddenSeries.has(n));
        this.hiddenSeries = new Set(only ? [] : all.filter((n) => n !== which));
      } else if (!this.hiddenSeries.delete(which)) this.hiddenSeries.add(which);
      this.paintLegend();
      this.show(false);
    }

    toggleModel(at, all) {
      const { run, shown } = this.models[at];
      this.models.forEach((model, which) => { if (which === at || (all && model.run === run)) model.shown = !shown; });
      this.paintLegend();
      this.show(false);
    }

    // New points have come.
    async again() {
      const answer = await fetch(this.figure.dataset.lightCurve);
      if (!answer.ok) return;
      this.columns = await unpack(answer);
      this.median = this.medians();
      this.hiddenSeries.clear();
      this.kinds();
      this.legend();
      this.show(true);
      this.figure.dataset.points = String(this.columns.n);
    }
  }

  for (const figure of document.querySelectorAll("[data-light-curve]")) new LightCurve(figure).start().catch(() => {});
})();
