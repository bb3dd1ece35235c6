"use strict";
// Draws the charts of the page from the data in it. Every figure is also in a table; this adds the pictures, the
// values under the pointer, and the switches: arms on and off, linear or log, light or dark.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const off = new Set();
  const hover = document.getElementById("hover");
  const SVG = "http://www.w3.org/2000/svg";

  // ---- words -------------------------------------------------------------------------------------------------

  const short = (v) => v.toFixed(Number.isInteger(Math.round(v * 10) / 10) || v >= 100 ? 0 : 1);
  const scaled = (v, steps) => {
    const [size, unit] = steps.find(([size]) => v >= size) || steps[steps.length - 1];
    return short(v / size) + unit;
  };
  const WORDS = {
    count: (v) => v > 0 && v < 1 ? v.toPrecision(2) : scaled(v, [[1e6, "M"], [1e3, "k"], [1, ""]]),
    duration: (v) => scaled(v, [[1e9, " s"], [1e6, " ms"], [1e3, " µs"], [1, " ns"]]),
    bytes: (v) => scaled(v, [[2 ** 30, " GiB"], [2 ** 20, " MiB"], [1024, " KiB"], [1, " B"]]),
    percent: (v) => v.toFixed(0) + " %",
    seconds: (v) => v + " s",
    ratio: (v) => v.toFixed(v >= 9.95 ? 0 : v >= 1.995 ? 1 : v >= 0.0995 ? 2 : 3),
  };
  const words = (axis, v) => v === 0 ? "0" : WORDS[axis.unit](v);

  // ---- shapes ------------------------------------------------------------------------------------------------

  const make = (name, attributes, parent) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (parent) parent.appendChild(element);
    return element;
  };
  const write = (parent, text, x, y, attributes = {}) => {
    const element = make("text", { x, y, ...attributes }, parent);
    element.textContent = text;
    return element;
  };
  const hue = (look) => `var(--c${look.colour.slice(1)}, ${look.colour})`;
  const paint = (element, fill, stroke, width = 2) => {
    element.style.fill = fill;
    element.style.stroke = stroke;
    element.style.strokeWidth = width;
    return element;
  };
  const OUTLINES = {
    square: "M-5-5H5V5H-5Z", triangle: "M-5.5 5L0-5.5 5.5 5Z", diamond: "M-6 0L0-6 6 0 0 6Z",
    circle: "M-5 0A5 5 0 1 1 5 0A5 5 0 1 1-5 0Z",
  };
  const marker = (parent, look, x, y, hollow) => paint(
    make("path", { d: OUTLINES[look.marker], transform: `translate(${x} ${y})` }, parent),
    hollow ? "var(--paper)" : hue(look), hue(look));
  const stroke = (parent, look, d) => {
    const line = paint(make("path", { d }, parent), "none", hue(look));
    if (look.dashed) line.style.strokeDasharray = "6 4";
    return line;
  };

  // ---- axes --------------------------------------------------------------------------------------------------

  const linearTicks = (high, bytes) => {
    const rough = (high || 1) / 5;
    const base = bytes ? 1024 : 10;
    const power = base ** Math.floor(Math.log(rough) / Math.log(base) + 1e-12);
    const multiples = bytes ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512] : [1, 2, 2.5, 5];
    const step = multiples.map((m) => m * power).find((s) => s >= rough) || base * power;
    const count = Math.floor((high || 1) / step + 1e-6);
    return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
  };
  const logTicks = (low, high) => {
    for (const multiples of [[1, 1.5, 2, 3, 5, 7], [1, 2, 5], [1]]) {
      const all = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e += 1) {
        for (const m of multiples) all.push(m * 10 ** e);
      }
      let from = all.findLastIndex((t) => t <= low * 1.000001);
      let to = all.findIndex((t) => t >= high * 0.999999);
      from = Math.max(from, 0);
      to = Math.min(Math.max(to < 0 ? all.length - 1 : to, from + 1), all.length - 1);
      const ticks = all.slice(from, to + 1);
      if (ticks.length <= 8 || multiples.length === 1) return ticks;
    }
    return [low, high];
  };
  const binaryTicks = (low, high) => {
    for (const bits of [1, 2, 4, 8]) {
      const first = Math.floor(Math.log2(low) / bits);
      const last = Math.max(Math.ceil(Math.log2(high) / bits), first + 1);
      if (last - first < 8 || bits === 8) return Array.from({ length: last - first + 1 }, (_, i) => 2 ** (bits * (first + i)));
    }
    return [low, high];
  };
  /// The axis on another scale, or over other values; null when a scale has no place for any of them.
  const axisOver = (axis, scale, values) => {
    const shown = axis.shade ? [...values, axis.shade.from] : values;
    const usable = shown.filter((v) => Number.isFinite(v) && (scale === "linear" || v > 0));
    if (!values.length || !usable.length) return null;
    const high = usable.reduce((a, b) => Math.max(a, b));
    const low = usable.reduce((a, b) => Math.min(a, b));
    const bytes = axis.unit === "bytes";
    const logarithmic = bytes ? binaryTicks : logTicks;
    const at = scale === "log" ? logarithmic(low, high) : linearTicks(high, bytes);
    const end = scale === "log" ? Math.max(at[at.length - 1], high) : (high || 1) * 1.05;
    return { ...axis, scale, range: [at[0], end], ticks: at.map((t) => [t, words(axis, t)]) };
  };
  const place = (axis, from, to) => {
    const at = axis.scale === "log" ? Math.log10 : (v) => v;
    const [low, high] = axis.range.map(at);
    return (v) => {
      const part = (at(v) - low) / (high - low);
      return Number.isFinite(part) && part >= -1e-6 && part <= 1.000001 ? from + part * (to - from) : null;
    };
  };

  // ---- hover -------------------------------------------------------------------------------------------------

  const show = (event, text) => {
    hover.textContent = text;
    hover.hidden = false;
    const box = hover.getBoundingClientRect();
    hover.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6)) + "px";
    hover.style.top = Math.max(4, event.clientY - box.height - 12) + "px";
  };
  const hide = () => { hover.hidden = true; };
  const inFull = (label, axis, p) => {
    let text = `${label}: ${words(axis, p.y)}`;
    if (p.range) text += ` (${words(axis, p.range[0])} to ${words(axis, p.range[1])})`;
    if (p.suspect) text += ", suspect";
    if (p.note) text += `, ${p.note}`;
    return text;
  };
  /// Shows the spot nearest to the pointer, within 40 px.
  const follow = (svg, spots) => {
    svg.addEventListener("pointermove", (event) => {
      const matrix = svg.getScreenCTM();
      if (!matrix) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      let best = null;
      let least = 1600;
      for (const spot of spots) {
        const distance = (spot.x - at.x) ** 2 + (spot.y - at.y) ** 2;
        if (distance < least) [best, least] = [spot, distance];
      }
      if (best) show(event, best.text); else hide();
    });
    svg.addEventListener("pointerleave", hide);
  };

  // ---- charts ------------------------------------------------------------------------------------------------

  const canvas = (parent, width, height) => make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" }, parent);
  const room = (labels, beside, least, most) =>
    Math.min(Math.max(least, beside + 7 * Math.max(0, ...labels.map((l) => [...l].length))), most);
  /// The part beyond what the generator itself can do, with its name at (x, y).
  const shade = (svg, { label }, [x, y, width, height], at) => {
    make("rect", { x, y, width, height, class: "shade" }, svg);
    write(svg, label, ...at, { class: "quiet" });
  };
  const ends = (series) => series.flatMap((s) => s.points.flatMap((p) => [p.y, ...(p.range || [])]));

  /// Where words end that stand beside a mark, wherever no others are yet; null among too many.
  const freePlace = (words, x, y, edge, bottom, taken) => {
    const width = [...words].length * 6 + 4;
    const beside = x - 11 - width >= edge ? x - 7 : x + 7 + width;
    for (const [right, middle] of [[beside, y + 12], [beside, y - 11], [beside + 4 * Math.sign(beside - x), y]]) {
      const area = [right - width, middle - 7, right, middle + 7];
      if (middle + 7 <= bottom && taken.every((b) => area[2] <= b[0] || b[2] <= area[0] || area[3] <= b[1] || b[3] <= area[1])) {
        taken.push(area);
        return [right, middle];
      }
    }
    return null;
  };
  const lines = (parent, plot, scale, title) => {
    const series = plot.series.filter((s) => !off.has(s.label));
    const y = axisOver(plot.y, scale, ends(series));
    if (!y) return empty(parent);
    const x = plot.x;
    const legend = series.map((s) => s.remark ? `${s.label}  ${s.remark}` : s.label);
    const right = room(legend, 74, 150, 420);
    const width = 960;
    const height = Math.max(440, 80 + 20 * series.length);
    const [left, top, bottom] = [88, 14, height - 56];
    const svg = canvas(parent, width, height);
    svg.setAttribute("aria-label", title);
    const px = place(x, left + 18, width - right - 18);
    const py = place(y, bottom, top);
    const limit = y.shade ? py(y.shade.from) : null;
    if (limit !== null) {
      const [from, to, at] = y.shade.above ? [top, limit, limit - 4] : [limit, bottom, limit + 13];
      shade(svg, y.shade, [left, from, width - right - left, to - from], [left + 8, at]);
    }
    for (const [v, text] of x.ticks) {
      const at = px(v);
      if (at === null) continue;
      make("path", { d: `M${at} ${top}V${bottom}`, class: "grid" }, svg);
      write(svg, text, at, bottom + 20, { "text-anchor": "middle" });
    }
    for (const [v, text] of y.ticks) {
      const at = py(v);
      make("path", { d: `M${left} ${at}H${width - right}`, class: "grid" }, svg);
      write(svg, text, left - 9, at + 4, { "text-anchor": "end" });
    }
    make("path", { d: `M${left} ${top}V${bottom}H${width - right}`, class: "edge" }, svg);
    write(svg, x.label, (left + width - right) / 2, height - 12, { "text-anchor": "middle" });
    write(svg, y.label, 0, 0, { "text-anchor": "middle", transform: `translate(16 ${(top + bottom) / 2}) rotate(-90)` });
    const spots = [];
    const taken = [];
    series.forEach((s, n) => {
      const group = make("g", { "data-arm": s.label }, svg);
      const aside = n * 2 - series.length + 1;
      const at = s.points.map((p) => [px(p.x), py(p.y)]);
      let d = "";
      let pen = "M";
      for (const [ax, ay] of at) {
        if (ax === null || ay === null) { pen = "M"; continue; }
        d += `${pen}${ax.toFixed(1)} ${ay.toFixed(1)}`;
        pen = "L";
      }
      stroke(group, s.look, d);
      s.points.forEach((p, i) => {
        const [ax, ay] = at[i];
        if (ax === null || ay === null) return;
        const where = x.unit === "percent" ? percentile(p.x) : `${words(x, p.x)}${x.unit === "count" ? " " + x.label : ""}`;
        spots.push({ x: ax, y: ay, text: `${inFull(s.label, y, p)}; ${where}` });
        if (i % plot.marked) return;
        if (p.range) {
          const [low, high] = p.range.map(py);
          if (low !== null && high !== null) paint(make("path", { d: `M${ax + aside} ${low}V${high}` }, group), "none", hue(s.look), 1);
        }
        marker(group, s.look, ax, ay, p.suspect);
        if (p.failed) paint(make("path", { d: `M${ax - 8} ${ay - 8}l16 16m0-16l-16 16` }, group), "none", "var(--failed)");
        const free = p.note && freePlace(p.note, ax, ay, left, bottom, taken);
        if (free) write(group, p.note, free[0], free[1] + 4, { "text-anchor": "end", class: "quiet" });
      });
      const ly = top + 10 + 20 * n;
      const lx = width - right + 22;
      stroke(svg, s.look, `M${lx} ${ly}h34`);
      marker(svg, s.look, lx + 17, ly, false);
      write(svg, legend[n], lx + 44, ly + 4);
    });
    follow(svg, spots);
    return undefined;
  };
  const percentile = (x) => `${(100 - 100 / x).toFixed(x < 10 ? 1 : Math.ceil(Math.log10(x)))} % of requests`;

  const rows = (parent, labels, axis, title, notes, draw) => {
    const left = room(labels, 26, 90, 380);
    const right = room(notes, 24, 120, 380);
    const width = 960;
    const top = axis.shade ? 22 : 8;
    const height = 56 + top + 24 * labels.length;
    const bottom = height - 50;
    const svg = canvas(parent, width, height);
    svg.setAttribute("aria-label", title);
    const px = place(axis, left, width - right);
    if (axis.shade) {
      const limit = px(axis.shade.from);
      const [from, to] = axis.shade.above ? [limit, width - right] : [left, limit];
      shade(svg, axis.shade, [from, top, to - from, bottom - top], [left, top - 8]);
    }
    for (const [v, text] of axis.ticks) {
      const at = px(v);
      if (at === null) continue;
      make("path", { d: `M${at} ${top}V${bottom}`, class: "grid" }, svg);
      write(svg, text, at, bottom + 18, { "text-anchor": "middle" });
    }
    write(svg, axis.label, (left + width - right) / 2, height - 8, { "text-anchor": "middle" });
    const spots = [];
    labels.forEach((label, i) => {
      const y = top + 14 + 24 * i;
      write(svg, label, left - 9, y + 4, { "text-anchor": "end" });
      draw(svg, i, y, px, left, spots);
    });
    follow(svg, spots);
  };

  const bars = (parent, plot, title) => {
    const series = plot.series.filter((s) => !off.has(s.label));
    const axis = axisOver(plot.value, "linear", ends(series));
    if (!axis) return empty(parent);
    const after = series.map((s) => words(axis, s.points[0].y) + (s.points[0].note ? `, ${s.points[0].note}` : ""));
    rows(parent, series.map((s) => s.label), axis, title, after, (svg, i, y, px, left, spots) => {
      const s = series[i];
      const p = s.points[0];
      const group = make("g", { "data-arm": s.label }, svg);
      const bar = (to, opacity) => {
        const box = paint(make("rect", { x: left, y: y - 8, width: Math.max(0, to - left), height: 16 }, group), hue(s.look), "none");
        box.style.fillOpacity = opacity;
      };
      const end = px(p.y);
      bar(end, p.suspect ? 0 : p.part === undefined ? 1 : 0.35);
      if (p.part !== undefined) bar(px(p.part), p.suspect ? 0.35 : 1);
      paint(make("rect", { x: left, y: y - 8, width: Math.max(0, end - left), height: 16 }, group), "none", hue(s.look));
      let last = end;
      if (p.range) {
        const [low, high] = p.range.map(px);
        paint(make("path", { d: `M${low} ${y}H${high}` }, group), "none", "var(--ink)", 1);
        last = Math.max(last, high);
      }
      write(group, after[i], last + 8, y + 4, { class: "quiet" });
      for (let x = left; x <= end + 30; x += 30) spots.push({ x, y, text: inFull(s.label, axis, p) });
    });
    return undefined;
  };

  const stacks = (parent, plot, title) => {
    const all = plot.stacks.filter((s) => !off.has(s.arm));
    if (!all.length) return empty(parent);
    rows(parent, all.map((s) => s.label), plot.value, title, all.map((s) => s.note), (svg, i, y, px, left, spots) => {
      const s = all[i];
      const group = make("g", { "data-arm": s.arm }, svg);
      let sum = 0;
      s.shares.forEach((share, worker) => {
        const [from, to] = [px(sum), px(Math.min(100, sum + share))];
        sum += share;
        if (from === null || to === null) return;
        const box = paint(make("rect", { x: from, y: y - 8, width: to - from, height: 16 }, group), hue(s.look), "none");
        box.style.fillOpacity = worker % 2 ? 0.6 : 0.95;
        spots.push({ x: (from + to) / 2, y, text: `${s.label}: worker ${worker} accepted ${share.toFixed(1)} %` });
      });
      write(group, s.note, px(100) + 8, y + 4, { class: "quiet" });
    });
    return undefined;
  };

  const heat = (parent, plot, title) => {
    const all = plot.rows.filter((r) => !off.has(r.label));
    if (!all.length) return empty(parent);
    const left = room(all.map((r) => r.label), 26, 90, 380);
    const longest = Math.max(...plot.columns.map((c) => [...c].length));
    const wide = Math.max(58, Math.min(150, (940 - left) / plot.columns.length));
    const upright = longest * 7 > wide;
    const top = upright ? longest * 7 + 10 : 24;
    const width = Math.max(960, left + wide * plot.columns.length + 20);
    const svg = canvas(parent, width, top + 25 * all.length + 8);
    svg.setAttribute("aria-label", title);
    if (width > 960) svg.style.minWidth = width + "px";
    plot.columns.forEach((column, i) => {
      const x = left + wide * (i + 0.5);
      if (upright) write(svg, column, 0, 0, { transform: `translate(${x + 4} ${top - 6}) rotate(-90)` });
      else write(svg, column, x, top - 8, { "text-anchor": "middle" });
    });
    const spots = [];
    all.forEach((row, j) => {
      const y = top + 25 * j;
      const group = make("g", { "data-arm": row.label }, svg);
      write(group, row.label, left - 9, y + 17, { "text-anchor": "end" });
      row.cells.forEach((cell, i) => {
        const x = left + wide * i;
        const log = cell.ratio === null ? 0 : Math.log(cell.ratio);
        const strength = Math.min(1, Math.abs(log) / Math.log(4)) * 0.85;
        const colour = (part) => `rgba(var(--${(log > 0) === plot.more_is_better ? "better" : "worse"}), ${part})`;
        paint(make("rect", { x: x + 1, y: y + 1, width: wide - 2, height: 22 }, group),
          cell.suspect ? "transparent" : colour(strength), cell.ratio === null || log === 0 ? "var(--line)" : colour(Math.max(0.15, strength)));
        const i95 = cell.interval;
        const same = cell.ratio === 1 && (!i95 || (i95.low === 1 && i95.high === 1));
        const sure = same || (i95 && (i95.low > 1 || i95.high < 1));
        const text = cell.ratio === null ? cell.note : (sure ? "" : "≈ ") + WORDS.ratio(cell.ratio);
        write(group, text, x + wide / 2, y + 17, { "text-anchor": "middle", class: cell.ratio === null ? "quiet" : "" });
        const between = i95 ? ` (${WORDS.ratio(i95.low)} to ${WORDS.ratio(i95.high)})` : "";
        spots.push({ x: x + wide / 2, y: y + 12, text: `${row.label}, ${plot.columns[i]}: ${text}${between}${cell.suspect ? ", suspect" : ""}` });
      });
    });
    follow(svg, spots);
    return undefined;
  };

  const empty = (parent) => {
    const words = document.createElement("p");
    words.className = "empty";
    words.textContent = "Every arm with figures here is switched off.";
    parent.appendChild(words);
  };

  // ---- the page ----------------------------------------------------------------------------------------------

  const scales = new Map();
  const draw = (chart) => {
    const figure = document.getElementById(chart.name);
    const parent = figure.querySelector(".plot");
    parent.replaceChildren();
    const { plot, texts } = chart;
    if (plot.kind === "lines") {
      const scale = scales.get(chart.name) || plot.y.scale;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "switch";
      button.textContent = scale === "log" ? "log, switch to linear" : "linear, switch to log";
      button.addEventListener("click", () => {
        scales.set(chart.name, scale === "log" ? "linear" : "log");
        draw(chart);
        parent.querySelector(".switch").focus();
      });
      parent.appendChild(button);
      figure.dataset.scale = scale;
      lines(parent, plot, scale, texts.title);
    } else {
      ({ bars, stacks, heat })[plot.kind](parent, plot, texts.title);
    }
    for (const line of figure.querySelectorAll("tr[data-arm]")) line.hidden = off.has(line.dataset.arm);
  };
  const drawAll = () => { hide(); data.charts.forEach(draw); };

  const legend = document.getElementById("legend");
  const boxes = data.arms.map((arm) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.value = arm.label;
    box.addEventListener("change", () => {
      if (box.checked) off.delete(arm.label); else off.add(arm.label);
      drawAll();
    });
    const sample = make("svg", { width: 30, height: 14, viewBox: "0 0 30 14", "aria-hidden": "true" });
    stroke(sample, arm.look, "M0 7h30");
    marker(sample, arm.look, 15, 7, false);
    label.append(box, sample, arm.label);
    legend.appendChild(label);
    return box;
  });
  const setAll = (checked) => {
    off.clear();
    for (const box of boxes) {
      box.checked = checked;
      if (!checked) off.add(box.value);
    }
    drawAll();
  };
  document.getElementById("all").addEventListener("click", () => setAll(true));
  document.getElementById("none").addEventListener("click", () => setAll(false));
  legend.hidden = data.charts.length === 0;

  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const now = themes[(themes.indexOf(document.documentElement.dataset.theme || "auto") + 1) % themes.length];
    if (now === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    theme.textContent = `theme: ${now}`;
  });
  drawAll();
})();
