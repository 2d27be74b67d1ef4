// The price chart of the Market page: lightweight-charts through dash-tvlwc's component, in a React root of our own.
// Dash looks through the whole page at each change of a property; here a live bar costs what drawing it costs.
(function () {
  "use strict";
  const live = window.candlewick;
  const EARLY_BARS = 150; // fewer than that left of the view: fetch more
  const MAX_BARS = 100000; // held at most
  // Each reading of history draws everything anew: the further somebody goes back, the more is read at once.
  const FIRST_HISTORY_BARS = 3000;
  const MOST_HISTORY_BARS = 24000;
  const FOLLOWED_BARS = 20000; // held while the newest bar is in view

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  live.make = make;

  // ---- islands: elements of ours that are moved into their places as the page comes and goes

  live.islands = {};
  live.island = (name, className) => (live.islands[name] = make("div", className));
  live.adopt = () => {
    const root = document.getElementById("react-entry-point");
    const stands = root && root.querySelector("#chart-panel");
    for (const [name, element] of Object.entries(live.islands)) {
      const selector = `[data-island="${name}"]`;
      const place = (stands && root.querySelector(selector)) || document.querySelector(`#first-paint ${selector}`);
      if (place && element.parentElement !== place) place.append(element);
    }
  };

  const box = live.island("chart", "chart-island");
  const canvas = make("div");
  canvas.id = "chart";
  const legend = make("div", "legend");
  legend.setAttribute("aria-hidden", "true");
  const figures = make("div");
  figures.id = "legend-figures";
  const lines = make("div", "legend-lines");
  lines.id = "legend-lines";
  legend.append(figures, lines);
  const cover = make("div", "chart-cover");
  cover.id = "chart-cover";
  const wait = make("div", "chart-wait");
  wait.setAttribute("aria-hidden", "true");
  wait.append(make("div"));
  box.append(canvas, legend, cover, wait);

  // ---- what is drawn

  const chart = (live.chart = {
    view: null,
    rows: {}, // series id to its rows, ascending by time
    notes: {}, // what a candle lacks, by time
    range: null, // what is in view: the last report of the chart
    hovered: null,
    onRange: [], // called when the view moved
    onClick: null,
  });
  let specs = [];
  let marks = { markers: [], lines: [] };
  let props = {};
  let root = null;
  let asked = null; // what history was asked for, so that it is asked for once
  let historyBars = FIRST_HISTORY_BARS; // to be read next
  let paintedOnce;
  live.painted = new Promise((done) => (paintedOnce = done));

  const reports = (report) => {
    if ("crosshair" in report) {
      const at = report.crosshair;
      chart.hovered = at && at.time !== null && at.point && at.seriesData.price ? at.seriesData : null;
      chart.drawLegend();
    }
    if ("click" in report && chart.onClick) chart.onClick(report.click);
    if ("visibleLogicalRange" in report || "timeScaleWidth" in report) {
      chart.range = { ...chart.range, ...report };
      chart.onRange.forEach((tell) => tell(chart.range));
      wantHistory();
    }
  };

  // Plotly draws where the preferences ask for it.
  let plot = null;
  function renderPlot(changes) {
    plot = plot || live.plotChart(canvas, reports);
    if (!chart.view) return plot.clear();
    const { timeScaleAction, visibleLogicalRange, tick } = changes;
    plot.render(
      { view: chart.view, figure: chart.figure, rows: chart.rows, marks },
      {
        reset: timeScaleAction && timeScaleAction.action === "resetTimeScale",
        newest: timeScaleAction && timeScaleAction.action === "scrollToRealTime",
        look: visibleLogicalRange,
        soon: Boolean(tick),
      }
    );
  }

  function render(changes) {
    if (chart.figure || plot) return renderPlot(changes);
    props = { ...props, ...changes };
    if (root === null) root = window.ReactDOM.createRoot(canvas);
    // At once: of two ticks in one drawing of the page the component would see the later alone.
    window.ReactDOM.flushSync(() => root.render(window.React.createElement(window.dash_tvlwc.Tvlwc, props)));
  }

  const series = () =>
    specs.map((spec) => {
      const one = { ...spec, data: chart.rows[spec.id] || [] };
      return spec.id === "price" ? { ...one, markers: marks.markers, priceLines: marks.lines } : one;
    });

  function rowsOf(columns, view) {
    const { t, o, h, l, c, v } = columns;
    const rows = { price: new Array(t.length), volume: new Array(t.length) };
    for (let i = 0; i < t.length; i += 1) {
      rows.price[i] = { time: t[i], open: o[i], high: h[i], low: l[i], close: c[i] };
      rows.volume[i] = { time: t[i], value: v[i], color: c[i] >= o[i] ? view.up : view.down };
    }
    for (const [id, values] of Object.entries(columns.lines)) {
      const line = [];
      for (let i = 0; i < t.length; i += 1) {
        // Before its first value a line has no rows; a value missing later breaks it.
        if (values[i] !== null) line.push({ time: t[i], value: values[i] });
        else if (line.length) line.push({ time: t[i] });
      }
      rows[id] = line;
    }
    return rows;
  }

  // Draw what the server answered. The same chart keeps what is in view.
  chart.show = (body) => {
    // The preference changed since the first chart was drawn: the page begins anew with what now draws it.
    if (body.plot ? root : plot) return location.reload();
    const same = chart.view && chart.view.key === body.view.key;
    const live_ = same ? chart.rows : {};
    chart.view = live.view = body.view;
    chart.figure = body.plot || null;
    const rows = rowsOf(body.columns, body.view);
    if (same) keepOlderAndNewer(rows, live_);
    chart.rows = rows;
    specs = body.specs;
    if (!same) {
      chart.notes = {};
      chart.hovered = null;
      historyBars = FIRST_HISTORY_BARS;
      marks = { markers: [], lines: [] };
    }
    asked = null;
    render({
      width: "100%",
      height: "100%",
      subscribeVisibleRange: true,
      subscribeCrosshair: true,
      subscribeClick: true,
      subscribeSize: true,
      reportThrottle: 60,
      setProps: reports,
      chartOptions: body.options,
      series: series(),
      paneOptions: body.panes,
      ...(same ? {} : { tick: undefined, timeScaleAction: { action: "resetTimeScale", nonce: body.view.at } }),
    });
    chart.drawLegend();
    if (paintedOnce) {
      // The frame after the next begins when this one has been painted.
      const done = paintedOnce;
      requestAnimationFrame(() =>
        setTimeout(() => {
          performance.mark("chart-painted");
          done();
        })
      );
      paintedOnce = null;
    }
  };

  // History that was scrolled to stays, and a bar that came live after the answer was read.
  function keepOlderAndNewer(rows, before) {
    for (const [id, fresh] of Object.entries(rows)) {
      const old = before[id] || [];
      if (!fresh.length || !old.length) continue;
      const older = old.slice(0, lowerBound(old, fresh[0].time));
      const newer = old.slice(lowerBound(old, fresh[fresh.length - 1].time + 1));
      rows[id] = [...older, ...fresh, ...newer];
    }
  }

  chart.clear = () => {
    chart.view = live.view = null;
    chart.rows = {};
    specs = [];
    if (root !== null || plot) render({ series: [], paneOptions: [], tick: undefined });
    chart.drawLegend();
    if (paintedOnce) paintedOnce();
  };

  // Markers of signals and fills, lines of positions. Candles are not touched: their arrays stay the same objects.
  chart.mark = (next) => {
    if (JSON.stringify(next) === JSON.stringify(marks)) return;
    marks = next;
    chart.marks = marks;
    if (chart.view) render({ series: series() });
  };

  // ---- live bars

  function lowerBound(rows, time) {
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  chart.lowerBound = lowerBound;

  const alike = (one, other) => Object.keys(other).every((name) => one[name] === other[name]);

  chart.tick = (ticks) => {
    if (!chart.view) return;
    const accepted = [];
    let mend = false;
    for (const { key, id, bar: came, note, since } of ticks) {
      const rows = chart.rows[id];
      if (key !== chart.view.key || !rows) continue;
      if (id === "price" && note) chart.notes[came.time] = noteOf(note, since);
      else if (id === "price") delete chart.notes[came.time];
      const bar = rebased(id, came, ticks);
      const at = lowerBound(rows, bar.time);
      if (at === rows.length) {
        rows.push(bar);
        accepted.push({ id, bar, historicalUpdate: false });
      } else if (rows[at].time === bar.time) {
        if (alike(rows[at], bar)) continue;
        rows[at] = bar;
        accepted.push({ id, bar, historicalUpdate: at < rows.length - 1 });
      } else if (at > 0) {
        // The chart can revise an older bar, but not put a new one before the last: the series is set anew.
        chart.rows[id] = [...rows.slice(0, at), bar, ...rows.slice(at)];
        mend = true;
      }
    }
    if (mend) render({ series: series(), tick: undefined });
    else if (accepted.length) render({ tick: accepted });
    if (accepted.length || mend) {
      trim();
      chart.drawLegend();
    }
  };

  // What a candle lacks, as short as its time frame allows.
  function noteOf(note, since) {
    if (!since) return note;
    const { clock, shortClock, moment } = window.dashTvlwcFunctions;
    const { seconds } = chart.view;
    return `${note} since ${seconds === 60 ? clock(since * 1000) : seconds > 86400 ? moment(since) : shortClock(since * 1000)}`;
  }

  // A sum since the first candle that was read begins elsewhere in each answer: what counts is how it moves on.
  function rebased(id, bar, ticks) {
    const line = chart.view.overlays.find((one) => one.id === id);
    if (!line || !line.cumulative) return { ...bar };
    const rows = chart.rows[id];
    for (const tick of ticks) {
      if (tick.id !== id) continue;
      const at = lowerBound(rows, tick.bar.time);
      if (at < rows.length && rows[at].time === tick.bar.time && at < rows.length - 1) {
        return { ...bar, value: bar.value + rows[at].value - tick.bar.value };
      }
    }
    return { ...bar };
  }

  // A tab that is left open for days holds no more than one that was just opened and scrolled.
  function trim() {
    const held = chart.rows.price.length;
    const range = chart.range && chart.range.visibleLogicalRange;
    const follows = range && range.to >= held - 1 && range.from > held - FOLLOWED_BARS;
    if (held <= (follows ? FOLLOWED_BARS * 1.25 : MAX_BARS * 1.05)) return;
    const first = chart.rows.price[held - (follows ? FOLLOWED_BARS : MAX_BARS)].time;
    for (const [id, rows] of Object.entries(chart.rows)) chart.rows[id] = rows.slice(lowerBound(rows, first));
    for (const time of Object.keys(chart.notes)) if (Number(time) < first) delete chart.notes[time];
    chart.view.more = true;
    historyBars = FIRST_HISTORY_BARS;
    render({ series: series(), tick: undefined });
  }

  // ---- history

  function wantHistory() {
    const { view, rows, range } = chart;
    const bars = range && range.barsInLogicalRange;
    if (!view || !view.more || !bars || bars.barsBefore >= EARLY_BARS) return;
    if (!rows.price.length || rows.price.length >= MAX_BARS) return;
    chart.loadBefore(rows.price[0].time).catch(() => null); // what is shown stays; scrolling asks again
  }

  // Read what lies before the first candle and put it in front. Resolves to whether there was any.
  chart.loadBefore = (before) => {
    const name = `${chart.view.key}|${before}`;
    if (asked && asked.name === name) return asked.answer;
    const bars = Math.max(1, Math.min(historyBars, MAX_BARS - chart.rows.price.length));
    const answer = live
      .read(`/desk/history?${live.marketQuery({ before, bars })}`)
      .then((chunk) => join(chunk))
      .catch((error) => {
        asked = null;
        throw error;
      });
    asked = { name, answer };
    return answer;
  };

  function join(chunk) {
    const { view } = chart;
    if (!view || chunk.key !== view.key || !chart.rows.price.length) return false;
    if (chart.rows.price[0].time !== chunk.before) return false;
    const older = rowsOf(chunk.columns, view);
    for (const [id, rows] of Object.entries(chart.rows)) {
      const more = older[id] || [];
      const at = lowerBound(more, chunk.before);
      const line = view.overlays.find((one) => one.id === id);
      if (line && line.cumulative && at < more.length && rows.length && rows[0].time === more[at].time) {
        const shift = rows[0].value - more[at].value;
        for (const row of more) if (row.value !== undefined) row.value += shift;
      }
      const first = rows.length ? rows[0].time : Infinity;
      const cut = lowerBound(more, Math.min(first, id === "price" || id === "volume" ? chunk.before : first));
      chart.rows[id] = [...more.slice(0, cut), ...rows];
    }
    view.more = chunk.more;
    historyBars = Math.min(2 * historyBars, MOST_HISTORY_BARS);
    render({ series: series(), tick: undefined });
    chart.onHistory && chart.onHistory();
    return true;
  }

  // ---- the view

  chart.toLatest = () => render({ timeScaleAction: { action: "scrollToRealTime", nonce: Date.now() } });
  chart.look = (from, to) => render({ visibleLogicalRange: { from, to } });

  // Bring a moment (seconds) into the middle, reading history as far as it is needed.
  chart.jump = async (time) => {
    const view = chart.view;
    while (chart.view === view && view.more && chart.rows.price.length && chart.rows.price[0].time > time) {
      if (chart.rows.price.length >= MAX_BARS) break;
      if (!(await chart.loadBefore(chart.rows.price[0].time))) break;
    }
    if (chart.view !== view || !chart.rows.price.length) return null;
    const at = Math.min(lowerBound(chart.rows.price, time), chart.rows.price.length - 1);
    const half = 75;
    chart.look(at - half, at + half);
    return chart.rows.price[at].time;
  };

  // ---- the legend over the canvas

  const span = (className, text, colour) => {
    const element = make("span", className, text);
    if (colour) element.style.color = colour;
    return element;
  };
  const pair = (key, value, way, className) => {
    const element = span(`num ${way} ${className || ""}`, "");
    element.append(span("k", key), value);
    return element;
  };
  const newest = (id) => (chart.rows[id] || [])[(chart.rows[id] || []).length - 1];
  chart.newest = newest;

  chart.drawLegend = () => {
    const { view, hovered } = chart;
    figures.replaceChildren();
    lines.replaceChildren();
    if (!view) return;
    const bar = hovered ? hovered.price : newest("price");
    const format = window.dashTvlwcFunctions["price" + view.decimals];
    figures.append(make("b", "", `${view.symbol} · ${view.timeframe}`));
    if (bar && bar.close !== undefined) {
      const change = bar.close / bar.open - 1;
      // By what is shown: 0.00% has neither colour nor sign.
      const size = Math.abs(change * 100).toFixed(2);
      const way = Number(size) === 0 ? "flat" : change > 0 ? "up" : "down";
      const percent = { up: "+", down: "−", flat: "" }[way] + live.written(size) + "%";
      figures.append(
        pair("O", format(bar.open), way, "ohl"),
        pair("H", format(bar.high), way, "ohl"),
        pair("L", format(bar.low), way, "ohl"),
        pair("C", format(bar.close), way),
        span(`num ${way}`, percent)
      );
      if (chart.notes[bar.time]) figures.append(span("stale", chart.notes[bar.time]));
      const volume = hovered ? hovered.volume : newest("volume");
      if (volume && volume.value !== undefined) {
        figures.append(pair("Vol", window.dashTvlwcFunctions.compact(volume.value), "flat", "ohl"));
      }
    }
    for (const line of view.overlays) {
      const point = hovered ? hovered[line.id] : newest(line.id);
      const key = span("key num", "");
      const mark = make("i");
      mark.style.background = line.colour;
      key.append(mark, line.label);
      if (point && point.value !== undefined) {
        const own = line.pane === "price" ? format : window.dashTvlwcFunctions.price2;
        key.append(" ", span("", own(point.value), line.colour));
      }
      lines.append(key);
    }
  };
})();
