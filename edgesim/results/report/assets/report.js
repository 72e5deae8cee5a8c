// The run report's charts, map and tables. Reads the JSON in #data; whatever is text goes through textContent, never innerHTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const fade = (color, share) => `color-mix(in srgb, ${color} ${share * 100}%, transparent)`;

  // -- figures -----------------------------------------------------------------------------------------------------
  const number = (value, digits = 0) =>
    value == null ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });
  const ms = (value) =>
    value == null ? "–"
      : value >= 10000 ? `${number(value / 1000, 1)} s`
        : `${number(value, value < 10 ? 2 : value < 100 ? 1 : 0)} ms`;
  const tick = (value) => (value >= 1000 ? `${+(value / 1000).toPrecision(3)} s` : `${+value.toPrecision(3)} ms`);
  const per = (value) => (value == null ? "–" : `${number(value, value < 10 ? 1 : 0)}/s`);
  const last = data.t.length ? data.t[data.t.length - 1] : 0;
  const clock = (t) => (last < 180 ? `${+t.toFixed(2)} s` : `${Math.floor(t / 60)}:${String(Math.floor(t % 60)).padStart(2, "0")}`);

  // -- charts ------------------------------------------------------------------------------------------------------
  const sync = uPlot.sync("run");
  const font = "12px Inter, system-ui, sans-serif";

  const LEFT = 62, RIGHT = 24; // room for the labels of the axes
  const pen = document.createElement("canvas").getContext("2d");
  const FLAG = 19, FLAG_ROWS = 8, FONT = "system-ui, sans-serif";

  /** Where the labels of the marks stand: each right of its line, in rows that do not overlap. In CSS pixels. */
  function flags(xOf, left, right, most) {
    const ends = [], found = [];
    pen.font = `12px ${FONT}`;
    for (const mark of data.marks) {
      const x = xOf(mark.begin);
      if (x < left - 0.5 || x > right + 0.5) continue;
      let text = mark.error ? `${mark.label} (failed)` : mark.label;
      while (text.length > 8 && pen.measureText(text).width + 10 > right - left) text = `${text.slice(0, -4)}…`;
      const width = pen.measureText(text).width + 10;
      // At the right edge it moves left rather than out of the chart.
      const from = Math.min(x + 3, right - width);
      let row = ends.findIndex((end) => end < from);
      if (row < 0) row = ends.length;
      if (row >= most) continue;
      ends[row] = from + width + 3;
      found.push({ x, from, width, text, row, failed: Boolean(mark.error) });
    }
    return { found, rows: ends.length };
  }

  /** Bands of the phases and of incidents, behind the lines; names above the labels of the marks. */
  function background(u, named, rows) {
    const { ctx, bbox } = u, dpr = devicePixelRatio;
    const x = (t) => Math.min(Math.max(u.valToPos(t, "x", true), bbox.left), bbox.left + bbox.width);
    ctx.save();
    ctx.font = `${12 * dpr}px ${FONT}`;
    data.phases.forEach((phase, index) => {
      const from = x(phase.begin), to = x(phase.end);
      if (index % 2) {
        ctx.fillStyle = css("--faint");
        ctx.fillRect(from, bbox.top, to - from, bbox.height);
      }
      if (named && data.phases.length > 1 && ctx.measureText(phase.name).width + 12 * dpr < to - from) {
        ctx.fillStyle = css("--muted");
        ctx.textAlign = "left";
        ctx.fillText(phase.name, from + 6 * dpr, bbox.top - (rows * FLAG + 8) * dpr);
      }
    });
    for (const incident of data.incidents) {
      const from = x(incident.begin), to = x(incident.end ?? last + data.interval_s);
      ctx.fillStyle = fade(css("--violet"), 0.1);
      ctx.fillRect(from, bbox.top, to - from, bbox.height);
    }
    ctx.restore();
  }

  /** What the timeline did: a line each; with rows for them, a label above the chart like a flag at its pole. */
  function marks(u, rows) {
    const { ctx, bbox } = u, dpr = devicePixelRatio;
    const { found } = flags((t) => u.valToPos(t, "x", true) / dpr, bbox.left / dpr, (bbox.left + bbox.width) / dpr, rows || Infinity);
    ctx.save();
    ctx.font = `${12 * dpr}px ${FONT}`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    const colorOf = (flag) => css(flag.failed ? "--red" : "--violet"), topOf = (flag) => bbox.top - (rows ? rows - flag.row : 0) * FLAG * dpr;
    ctx.lineWidth = dpr;
    ctx.setLineDash([4 * dpr, 3 * dpr]);
    for (const flag of found) {
      const x = Math.round(flag.x * dpr);
      ctx.strokeStyle = colorOf(flag);
      ctx.beginPath();
      ctx.moveTo(x, topOf(flag));
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    for (const flag of rows ? found : []) {
      const { from, width, text } = flag, color = colorOf(flag), top = topOf(flag);
      ctx.fillStyle = css("--card");
      ctx.beginPath();
      ctx.roundRect(from * dpr, top, width * dpr, 16 * dpr, 4 * dpr);
      ctx.fill();
      ctx.fillStyle = fade(color, 0.16);
      ctx.fill();
      ctx.fillStyle = color;
      ctx.fillText(text, (from + 5) * dpr, top + 8.5 * dpr);
    }
    ctx.restore();
  }

  const charts = [];

  /** Draw a chart into #chart-<name>; again when the theme changes, and to fit when the window does. */
  function chart(name, make) {
    const box = $(`chart-${name}`);
    if (!box) return;
    let plot = null;
    const draw = () => {
      plot?.destroy();
      const { data: columns, ...options } = make();
      plot = new uPlot({ width: box.clientWidth, legend, ...options }, columns, box);
    };
    charts.push({ name, draw, plot: () => plot });
    draw();
    new ResizeObserver(() => {
      if (plot && plot.width !== box.clientWidth) draw();
    }).observe(box);
  }

  const axis = (values, more = {}) => ({
    stroke: css("--muted"), font, size: LEFT, gap: 6, values: (_, splits) => splits.map((v) => (v == null ? "" : values(v))),
    grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, ...more,
  });
  const line = (label, color, values, more = {}) => ({
    label, stroke: color, width: 2, value: (_, v) => values(v), points: { show: data.t.length < 40, size: 5, fill: color }, ...more,
  });
  const legend = { markers: { fill: (u, i) => u.series[i].stroke(u, i), stroke: () => "transparent" } };

  /** A chart over the time of the run. */
  function overTime(series, columns, values, { named = false, rows = 0, height = 220, scale = {}, times = data.t } = {}) {
    const head = named && data.phases.length > 1 ? 18 : 0;
    return {
      height: height + head + rows * FLAG, padding: [8 + head + rows * FLAG, RIGHT, 0, 0],
      series: [{ label: "time", value: (_, v) => (v == null ? "–" : clock(v)) }, ...series],
      data: [times, ...columns],
      axes: [axis(clock, { size: 34, grid: { show: false } }), axis(values)],
      scales: {
        x: { time: false, range: (_, min, max) => [min, max === last ? max + data.interval_s : max] },
        y: { range: (_, min, max) => [0, (max || 1) * 1.1], ...scale },
      },
      cursor: { sync: { key: sync.key }, drag: { x: true, y: false } },
      hooks: { drawClear: [(u) => background(u, named, rows)], draw: [(u) => marks(u, rows)] },
    };
  }

  let logarithmic = false;
  function latency() {
    const positive = [...data.p50, ...data.p99].filter((v) => v > 0);
    const low = Math.min(...positive), high = Math.max(...positive);
    const scale = logarithmic
      ? { distr: 3, range: () => [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.05))] } : {};
    const width = $("chart-latency").clientWidth, whole = last + data.interval_s;
    const { rows } = flags((t) => LEFT + (t / whole) * (width - LEFT - RIGHT), LEFT, width - RIGHT, FLAG_ROWS);
    return overTime(
      [line("p50", css("--c1"), ms), line("p99", css("--c0"), ms, { fill: fade(css("--c0"), 0.1) })],
      [data.p50, data.p99], tick, { named: true, rows, height: 300, scale },
    );
  }

  // A step lasts until the end of its interval, the last one too.
  const steps = uPlot.paths.stepped({ align: 1 });
  const ended = (values) => [...values, values[values.length - 1]];
  const rates = () => overTime(
    [
      line("arrivals", css("--c0"), per, { paths: steps, fill: fade(css("--c0"), 0.12), points: { show: false } }),
      line("failed", css("--red"), per, { paths: steps, fill: fade(css("--red"), 0.25), points: { show: false } }),
      ...(data.dropped.some((n) => n) ? [line("dropped", css("--amber"), per, { paths: steps, points: { show: false } })] : []),
    ],
    [data.rate, data.failed, ...(data.dropped.some((n) => n) ? [data.dropped] : [])].map(ended), (v) => `${+v.toPrecision(3)}`,
    { times: [...data.t, last + data.interval_s] },
  );

  const lag = () => overTime(
    [line("lag p99", css("--c3"), ms, { fill: fade(css("--c3"), 0.12) })], [data.lag], tick,
  );

  function cold() {
    const names = Object.keys(data.cold);
    const sums = data.t.map(() => 0);
    // Stacked: each series is drawn from zero up to the sum with those before it, the highest first.
    const stacked = names.map((name) => data.cold[name].map((n, i) => (sums[i] += n)));
    const bars = uPlot.paths.bars({ align: 1, size: [0.9, 40] });
    const series = names.map((name, i) => line(name, css(`--c${[0, 6, 2, 4, 3, 1][i % 6]}`), number, {
      paths: bars, fill: css(`--c${[0, 6, 2, 4, 3, 1][i % 6]}`), width: 0, points: { show: false },
      value: (_, v, __, index) => (index == null ? "–" : number(data.cold[name][index])),
    }));
    return overTime(series.reverse(), stacked.reverse(), (v) => (Number.isInteger(v) ? number(v) : ""));
  }

  function distribution() {
    const nice = [];
    for (let power = 1e-3; power < 1e6; power *= 10) nice.push(power, 2 * power, 5 * power);
    const color = css("--c1"), shown = Object.entries(data.quantiles).filter(([, v]) => v > 0);
    return {
      height: 220,
      data: [data.distribution.map((bin) => bin[0]), data.distribution.map((bin) => bin[1])],
      series: [
        { label: "response", value: (_, v) => (v == null ? "–" : `about ${ms(2 ** v)}`) },
        line("requests", color, number, { paths: uPlot.paths.bars({ size: [0.86, 60] }), fill: fade(color, 0.55), width: 0, points: { show: false } }),
      ],
      axes: [
        axis((v) => tick(2 ** v), {
          size: 34, grid: { show: false },
          splits: (u) => {
            const { min, max } = u.scales.x, inside = nice.map(Math.log2).filter((v) => v >= min && v <= max);
            const every = Math.ceil((inside.length * 62) / Math.max(u.bbox.width / devicePixelRatio, 1));
            return inside.filter((_, i) => i % every === 0);
          },
        }),
        axis(number),
      ],
      scales: { x: { time: false }, y: { range: (_, min, max) => [0, (max || 1) * 1.18] } },
      cursor: { drag: { x: true, y: false } },
      hooks: {
        draw: [(u) => {
          const { ctx, bbox } = u, dpr = devicePixelRatio;
          ctx.save();
          ctx.font = `${12 * dpr}px system-ui, sans-serif`;
          ctx.fillStyle = ctx.strokeStyle = css("--text");
          ctx.lineWidth = dpr;
          let end = -Infinity, row = 0;
          for (const [name, value] of shown) {
            const x = Math.round(u.valToPos(Math.log2(value), "x", true));
            if (x < bbox.left || x > bbox.left + bbox.width) continue;
            const width = ctx.measureText(name).width;
            row = x < end ? row + 1 : 0;
            const right = x + 4 * dpr + width > bbox.left + bbox.width;
            ctx.setLineDash([2 * dpr, 3 * dpr]);
            ctx.beginPath();
            ctx.moveTo(x, bbox.top);
            ctx.lineTo(x, bbox.top + bbox.height);
            ctx.stroke();
            ctx.textAlign = right ? "right" : "left";
            ctx.fillText(name, x + (right ? -4 : 4) * dpr, bbox.top + (11 + 15 * row) * dpr);
            end = x + width + 8 * dpr;
          }
          ctx.restore();
        }],
      },
    };
  }

  function nothing(name, text) {
    const box = $(`chart-${name}`);
    if (!box) return;
    box.textContent = text;
    box.className = "empty";
  }

  if (data.t.length) {
    if (data.p50.some((v) => v != null)) {
      chart("latency", latency);
      const button = document.createElement("button");
      button.className = "toggle";
      button.type = "button";
      button.textContent = "log scale";
      button.setAttribute("aria-pressed", "false");
      button.onclick = () => {
        logarithmic = !logarithmic;
        button.setAttribute("aria-pressed", String(logarithmic));
        charts.find((c) => c.name === "latency").draw();
      };
      $("latency-card").append(button);
    } else nothing("latency", "No answer was timed.");
    chart("rate", rates);
    chart("lag", lag);
    if (Object.values(data.cold).flat().some((n) => n)) chart("cold", cold);
    else nothing("cold", "No request met a cold worker.");
    if (data.distribution.length) chart("distribution", distribution);
    else nothing("distribution", "No answer was timed.");
  }

  // -- PoPs: colours, map, table -----------------------------------------------------------------------------------
  const [ID, CITY, COUNTRY, REGION, X, Y, REQUESTS, FAILED, P50, P95, P99, NETWORK] = Array(12).keys();
  const placed = data.pops.filter((pop) => pop[X] != null);
  // What no PoP answered has a row, but no dot: it says nothing about how fast PoPs are.
  const timed = placed.map((pop) => pop[P99]).filter((v) => v > 0).sort((a, b) => a - b);
  const fastest = timed[0] ?? 1, slowest = Math.max(timed[Math.floor((timed.length - 1) * 0.98)] ?? 1, fastest * 1.01);
  // From quick to slow: hue and lightness both change, so that it reads without telling red from green.
  const ramp = [[45, 212, 191], [163, 217, 74], [255, 196, 61], [249, 115, 22], [220, 38, 80]];
  function heat(value) {
    const at = Math.min(Math.max(Math.log(value / fastest) / Math.log(slowest / fastest), 0), 1) * (ramp.length - 1);
    const low = Math.min(Math.floor(at), ramp.length - 2), share = at - low;
    return `rgb(${ramp[low].map((v, i) => Math.round(v + (ramp[low + 1][i] - v) * share)).join(" ")})`;
  }
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const about = (pop) => [
    [pop[CITY], pop[COUNTRY], pop[REGION]].filter(Boolean).join(" · "),
    pop[REQUESTS] ? `${number(pop[REQUESTS])} requests, ${number(pop[FAILED])} failed` : "no requests",
    pop[REQUESTS] ? `p50 ${ms(pop[P50])} · p99 ${ms(pop[P99])}` : "",
  ].filter(Boolean).join("\n");

  const tip = $("tip");
  function showTip(event, pop) {
    const name = document.createElement("strong");
    name.textContent = pop[ID];
    tip.replaceChildren(name, document.createTextNode(`\n${about(pop)}`));
    tip.hidden = false;
    const left = Math.min(event.pageX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(left, 8)}px`;
    tip.style.top = `${event.pageY + 16}px`;
  }

  const world = document.querySelector(".world svg");
  function drawWorld() {
    const group = $("dots"), width = world.clientWidth || 1000, height = world.clientHeight || 400;
    const box = world.viewBox.baseVal, unit = 1 / Math.min(width / box.width, height / box.height);
    const most = Math.max(1, ...placed.map((pop) => pop[REQUESTS]));
    const largest = (placed.length > 60 ? 8 : 12) * Math.max(0.5, Math.min(1, width / 1100));
    const boxes = [];
    const dots = [], labels = [];
    // The worst last, so that no quick one hides it.
    for (const pop of [...placed].sort((a, b) => (a[P99] ?? -1) - (b[P99] ?? -1))) {
      const idle = !pop[REQUESTS], radius = idle ? 3 : 3 + (largest - 3) * Math.sqrt(pop[REQUESTS] / most);
      const dot = svg("circle", { cx: pop[X], cy: pop[Y], r: (radius * unit).toFixed(1), "stroke-width": 1.2 });
      dot.setAttribute("class", idle ? "dot idle" : pop[FAILED] ? "dot failing" : "dot");
      if (!idle && pop[P99] != null) dot.setAttribute("fill", heat(pop[P99]));
      dot.onpointermove = (event) => showTip(event, pop);
      dot.onpointerleave = () => { tip.hidden = true; };
      dot.onclick = () => pick(pop);
      dots.push(dot);
      boxes.push([pop[X] - radius * unit, pop[Y] - radius * unit, pop[X] + radius * unit, pop[Y] + radius * unit]);
    }
    const size = 11.5 * unit;
    const free = (b) => boxes.every((o) => b[2] < o[0] || b[0] > o[2] || b[3] < o[1] || b[1] > o[3]);
    for (const pop of width < 640 ? [] : [...placed].sort((a, b) => b[REQUESTS] - a[REQUESTS]).slice(0, 40)) {
      if (!pop[REQUESTS]) break;
      const radius = (3 + (largest - 3) * Math.sqrt(pop[REQUESTS] / most)) * unit, wide = pop[ID].length * size * 0.58;
      const right = [pop[X] + radius + 3 * unit, pop[Y] - size / 2, pop[X] + radius + 3 * unit + wide, pop[Y] + size / 2];
      const left = [pop[X] - radius - 3 * unit - wide, right[1], pop[X] - radius - 3 * unit, right[3]];
      const spot = [right, left].find(free);
      if (!spot) continue;
      boxes.push(spot);
      const label = svg("text", { x: spot[0].toFixed(1), y: (pop[Y] + size * 0.36).toFixed(1), "font-size": size.toFixed(1), "stroke-width": (3 * unit).toFixed(1) });
      label.setAttribute("class", "dot-label");
      label.textContent = pop[ID];
      labels.push(label);
    }
    group.replaceChildren(...dots, ...labels);
  }

  function drawLegend() {
    const part = (name, text) => {
      const element = document.createElement("span");
      element.className = name;
      if (text != null) element.textContent = text;
      return element;
    };
    const scale = part("scale"), bar = part("ramp");
    bar.style.background = `linear-gradient(90deg, ${ramp.map((c) => `rgb(${c.join(" ")})`).join(", ")})`;
    scale.append(part("", `p99 ${ms(fastest)}`), bar, part("", ms(slowest)));
    const items = timed.length ? [scale] : [];
    for (const [found, name, text] of [
      [placed.some((pop) => !pop[REQUESTS]), "ring", "no requests"], [placed.some((pop) => pop[FAILED]), "ring failing", "some failed"],
    ]) {
      if (!found) continue;
      const item = part("");
      item.append(part(name), text);
      items.push(item);
    }
    $("legend").replaceChildren(...items);
  }

  const rowOf = new Map();
  function pick(pop) {
    document.querySelector("tr.picked")?.classList.remove("picked");
    const row = rowOf.get(pop[ID]);
    row?.classList.add("picked");
    row?.scrollIntoView({ block: "center", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  function fillPops() {
    const body = $("pops").tBodies[0];
    for (const pop of data.pops) {
      const row = body.insertRow();
      const cell = (text, value, name) => {
        const td = row.insertCell();
        td.textContent = text;
        td.dataset.v = value ?? "";
        if (name) td.className = name;
        return td;
      };
      const first = cell(pop[ID], pop[ID]), swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = pop[P99] == null ? "var(--line)" : heat(pop[P99]);
      first.prepend(swatch);
      for (const index of [CITY, COUNTRY, REGION]) cell(pop[index], pop[index]);
      cell(number(pop[REQUESTS]), pop[REQUESTS], "n");
      cell(number(pop[FAILED]), pop[FAILED], "n failed");
      for (const index of [P50, P95, P99, NETWORK]) cell(ms(pop[index]), pop[index], "n");
      if (pop[FAILED]) row.className = "has-failures";
      rowOf.set(pop[ID], row);
    }
    const filter = $("pop-filter"), rows = [...body.rows];
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        const text = data.pops[i].slice(ID, REGION + 1).join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      });
      const hidden = data.pops_hidden ? `; ${number(data.pops_hidden)} more are in the summary only` : "";
      $("pop-count").textContent = `${number(shown)} of ${number(rows.length)} PoPs${hidden}`;
    };
    filter.oninput = apply;
    apply();
  }

  // -- sorting -----------------------------------------------------------------------------------------------------
  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.tabIndex = 0;
      const sort = () => {
        const numeric = head.classList.contains("n");
        const down = head.hasAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : numeric;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (x === "" || y === "") return (x === "") - (y === ""); // nothing measured stays below
          return (numeric ? x - y : x.localeCompare(y)) * (down ? -1 : 1);
        });
        table.tBodies[0].append(...rows);
      };
      head.onclick = sort;
      head.onkeydown = (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort();
      };
    });
  }

  fillPops();
  for (const table of document.querySelectorAll("table.sortable")) sortable(table);
  if (placed.length) {
    drawWorld();
    drawLegend();
    new ResizeObserver(drawWorld).observe(world);
  } else $("world-card").hidden = true;
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((c) => c.draw()));
  document.documentElement.dataset.ready = "yes";
})();
