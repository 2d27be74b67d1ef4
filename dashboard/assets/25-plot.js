// The price chart drawn by Plotly in the place of the canvas, where the display preferences ask for it: the figure of
// dashboard/figures/price_plot.py, its traces filled with what is in view and half a screen on each side of that.
// It takes what the canvas takes and reports what the canvas reports.
(function () {
  "use strict";
  const live = window.candlewick;
  const MOST_BARS = 400; // candles drawn in view: Plotly makes a node for each. Further out one stands for several
  const LEAST_BARS = 15;
  const FIRST_BARS = 140;
  const ROOM_BARS = 8; // to the right of the newest
  const TICK_PX = 96;
  const PERCENT_TICKS = 8;
  const LIVE_MS = 250; // live bars are drawn together
  const DAY_S = 86400;
  const STEPS_S = [5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, DAY_S, 7 * DAY_S, 28 * DAY_S, 91 * DAY_S];
  const SYMBOLS = { arrowUp: "triangle-up", arrowDown: "triangle-down", circle: "circle", square: "square" };

  let loading = null;
  const load = () =>
    (loading =
      loading ||
      new Promise((done, failed) => {
        if (window.Plotly) return done(window.Plotly);
        const script = document.createElement("script");
        script.src = "/desk/plotly.js";
        script.onload = () => done(window.Plotly);
        script.onerror = () => failed(new Error("Plotly did not load"));
        document.head.append(script);
      }));

  live.plotChart = (place, reports) => {
    let shown = null; // what is drawn: view, figure, rows by series, markers and lines
    let from = 0;
    let to = 0;
    let prices = []; // rows of the last drawing, to find the view again when some came in front
    let origin = 0; // where candles begin to be put together: the same ones stay in one, whatever comes in front
    let drawn = { first: 0, each: 1, candles: [] };
    let timer = null;
    let listening = false;

    const lower = (rows, time) => live.chart.lowerBound(rows, time);
    const last = () => shown.rows.price.length - 1;

    function reset() {
      to = last() + ROOM_BARS;
      from = to - FIRST_BARS;
      origin = 0;
    }

    function clamp() {
      const middle = (from + to) / 2;
      const widest = Math.max(MOST_BARS, prices.length + 2 * ROOM_BARS);
      const half = Math.max(LEAST_BARS, Math.min(widest, to - from)) / 2;
      const inside = Math.max(2, Math.min(last() + half - 2, middle));
      [from, to] = [inside - half, inside + half];
    }

    // Rows were put in front or cut off there: the same candles stay in view.
    function follow(follows) {
      const rows = shown.rows.price;
      if (prices.length && rows.length && rows !== prices) {
        const moved = lower(rows, prices[0].time) || -lower(prices, rows[0].time);
        from += moved;
        to += moved;
        origin += moved;
      }
      if (follows && rows === prices && rows.length > drawnBars) {
        from += rows.length - drawnBars;
        to += rows.length - drawnBars;
      }
      prices = rows;
      drawnBars = rows.length;
    }
    let drawnBars = 0;

    // The values of a series at the candles from `first` to `end`; null where it has none.
    function aligned(id, first, end) {
      const rows = shown.rows[id] || [];
      let at = first < end ? lower(rows, prices[first].time) : 0;
      const found = [];
      for (let index = first; index < end; index += 1) {
        while (at < rows.length && rows[at].time < prices[index].time) at += 1;
        found.push(at < rows.length && rows[at].time === prices[index].time ? rows[at] : null);
      }
      return found;
    }

    // How many candles one that is drawn stands for: a power of two, so that zooming seldom draws others.
    const together = () => 2 ** Math.max(0, Math.ceil(Math.log2((to - from) / MOST_BARS)));

    // Candles from `first` to `end` with `each` of them in one. Where there is no price there is a gap.
    function groups(first, end, each) {
      const volumes = aligned("volume", first, end);
      const found = [];
      for (let start = first; start < end; start += each) {
        const rows = prices.slice(start, Math.min(end, start + each)).filter((row) => row.low !== undefined);
        const bars = volumes.slice(start - first, start - first + each).filter(Boolean);
        const one = { time: prices[start].time, x: start + (each - 1) / 2 };
        if (rows.length) {
          one.open = rows[0].open;
          one.close = rows[rows.length - 1].close;
          one.high = Math.max(...rows.map((row) => row.high));
          one.low = Math.min(...rows.map((row) => row.low));
          one.color = one.close >= one.open ? shown.view.up : shown.view.down;
        }
        if (bars.length) one.volume = bars.reduce((sum, bar) => sum + bar.value, 0);
        found.push(one);
      }
      return found;
    }

    // The last value of a line in each group.
    function lineOf(id, first, end, each) {
      const values = aligned(id, first, end).map((row) => (row && row.value !== undefined ? row.value : null));
      if (each === 1) return values;
      const found = [];
      for (let start = 0; start < values.length; start += each) {
        found.push(values.slice(start, start + each).reduce((last_, value) => (value === null ? last_ : value), null));
      }
      return found;
    }

    // On the percent axis prices are told by the first candle in view, as on the canvas.
    function base() {
      if ((shown.figure.layout.meta || {}).scale !== "percent") return null;
      for (let index = Math.max(0, Math.ceil(from)); index < prices.length; index += 1) {
        if (prices[index].close !== undefined) return prices[index].close;
      }
      return null;
    }

    function percent(price, of, decimals = 2) {
      const text = window.dashTvlwcFunctions.grouped((price / of - 1) * 100, decimals) + "%";
      return price > of && /[1-9]/.test(text) ? "+" + text : text;
    }

    function percentTicks(range, of) {
      const ends = range.map((price) => (price / of - 1) * 100);
      const apart = (ends[1] - ends[0]) / PERCENT_TICKS || 1;
      const size = 10 ** Math.floor(Math.log10(apart));
      const step = size * [1, 2, 5, 10].find((times) => times * size >= apart);
      const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      const tickvals = [];
      for (let at = Math.ceil(ends[0] / step); at * step <= ends[1]; at += 1) tickvals.push(of * (1 + (at * step) / 100));
      return { tickmode: "array", tickvals, ticktext: tickvals.map((price) => percent(price, of, decimals)) };
    }

    function fitted(type) {
      const first = Math.max(0, Math.ceil(from));
      const end = Math.min(prices.length, Math.floor(to) + 1);
      let low = Infinity;
      let high = -Infinity;
      for (let index = first; index < end; index += 1) {
        if (prices[index].low === undefined) continue;
        low = Math.min(low, prices[index].low);
        high = Math.max(high, prices[index].high);
      }
      if (!(high >= low)) return null;
      const room = (high - low || high || 1) * 0.1;
      return type === "log" ? [Math.log10(Math.max(low - room, low / 2)), Math.log10(high + room)] : [low - room, high + room];
    }

    function ticks(first, end) {
      const width = Math.max(200, place.clientWidth - 72);
      const apart = ((to - from) * TICK_PX * shown.view.seconds) / width;
      const step = STEPS_S.find((one) => one >= apart && one >= shown.view.seconds) || apart;
      const { axis, moment } = window.dashTvlwcFunctions;
      const values = [];
      const texts = [];
      let day = "";
      let next = 0;
      for (let index = first; index < end; index += 1) {
        const { time } = prices[index];
        // After a hole the first candle past the round time has the mark.
        if (time < next || (!next && time % step)) continue;
        next = (Math.floor(time / step) + 1) * step;
        const today = moment(time).slice(0, 6);
        values.push(index);
        texts.push(step >= DAY_S ? today : today === day || !day ? axis(time, 3) : `<b>${today}</b>`);
        day = today;
      }
      return { tickvals: values, ticktext: texts };
    }

    function markers(first, end, range, type) {
      const value = (price) => (type === "log" ? Math.log10(price) : price);
      const price = (level) => (type === "log" ? 10 ** level : level);
      const room = range ? (range[1] - range[0]) * 0.025 : 0;
      const trace = { x: [], y: [], customdata: [], symbol: [], color: [] };
      for (const mark of shown.marks.markers) {
        const index = lower(prices, mark.time);
        if (index < first || index >= end || prices[index].time !== mark.time || prices[index].low === undefined) continue;
        const { low, high, close } = prices[index];
        const level = { belowBar: value(low) - room, aboveBar: value(high) + room, inBar: value(close) }[mark.position];
        trace.x.push(index);
        trace.y.push(price(level));
        trace.customdata.push(mark.id || "");
        trace.symbol.push(SYMBOLS[mark.shape] || "circle");
        trace.color.push(mark.color);
      }
      const { x, y, customdata, symbol, color } = trace;
      return { x, y, customdata, marker: { symbol, color, size: 9 } };
    }

    // On the axis its price, left of that what it is.
    const label = (line, text, xanchor) => ({
      xref: "paper", x: 1, xanchor, y: shown.figure.layout.yaxis.type === "log" ? Math.log10(line.price) : line.price,
      text, showarrow: false, bgcolor: line.color, font: { color: "#fff", size: 11 }, borderpad: 2,
    });

    function lines(colour, of) {
      const known = shown.marks.lines.map((line) => ({ ...line }));
      const newest = prices[prices.length - 1];
      if (newest && newest.close !== undefined) known.push({ price: newest.close, color: newest.close >= newest.open ? colour.up : colour.down, title: "" });
      const plain = window.dashTvlwcFunctions[`price${shown.view.decimals}`];
      const format = of === null ? plain : (price) => percent(price, of);
      return {
        shapes: known.map((line) => ({
          type: "line", xref: "paper", x0: 0, x1: 1, y0: line.price, y1: line.price,
          line: { color: line.color, width: 1, dash: "dot" },
        })),
        annotations: known.flatMap((line) => [label(line, format(line.price), "left"), ...(line.title ? [label(line, line.title, "right")] : [])]),
      };
    }

    function draw() {
      timer = null;
      if (!shown || !window.Plotly) return;
      const { figure } = shown;
      const half = (to - from) / 2;
      const each = together();
      const left = Math.floor(from - half);
      // Groups begin a whole number of them from the origin.
      const first = Math.min(prices.length, Math.max(0, left - ((((left - origin) % each) + each) % each)));
      const end = Math.max(first, Math.min(prices.length, Math.ceil(to + half)));
      const window_ = groups(first, end, each);
      drawn = { first, each, candles: window_ };
      const x = window_.map((one) => one.x);
      const of_ = base();
      const [candles, volume, ...rest] = figure.data;
      const marks = rest.pop();
      const type = figure.layout.yaxis.type;
      const range = fitted(type);
      const of = (name) => window_.map((row) => (row[name] === undefined ? null : row[name]));
      const traces = [
        { ...candles, x, open: of("open"), high: of("high"), low: of("low"), close: of("close") },
        { ...volume, x, y: window_.map((one) => (one.volume === undefined ? null : one.volume)), marker: { ...volume.marker, color: window_.map((one) => one.color || "") } },
        ...rest.map((line, index) => ({ ...line, x, y: lineOf(shown.view.overlays[index].id, first, end, each) })),
        { ...marks, ...markers(first, end, range, type) },
      ];
      const layout = {
        ...figure.layout,
        ...lines({ up: candles.increasing.fillcolor, down: candles.decreasing.fillcolor }, of_),
        separators: window.dashTvlwcFunctions.separators(),
        xaxis: { ...figure.layout.xaxis, ...ticks(first, end), range: [from, to] },
        yaxis: { ...figure.layout.yaxis, ...(range ? { range } : {}), ...(range && of_ !== null ? percentTicks(range, of_) : {}) },
      };
      window.Plotly.react(place, traces, layout, { displayModeBar: false, scrollZoom: true, responsive: true, doubleClick: false });
      if (!listening) listen();
      tell();
    }

    // What the canvas would report of its view.
    function tell() {
      const size = place._fullLayout && place._fullLayout._size;
      if (!size || !prices.length) return;
      const at = (index) => prices[Math.max(0, Math.min(last(), Math.round(index)))].time;
      reports({
        visibleLogicalRange: { from, to },
        visibleRange: { from: at(from), to: at(to) },
        barsInLogicalRange: { barsBefore: Math.floor(from), barsAfter: last() - Math.ceil(to) },
        timeScaleWidth: size.w,
      });
    }

    const seriesAt = (index) => {
      const found = {};
      for (const id of Object.keys(shown.rows)) found[id] = aligned(id, index, index + 1)[0] || undefined;
      const group = drawn.each > 1 && drawn.candles[Math.floor((index - drawn.first) / drawn.each)];
      if (group && group.open !== undefined) {
        found.price = group;
        found.volume = { value: group.volume };
      }
      return found;
    };

    function listen() {
      listening = true;
      place.on("plotly_relayout", (change) => {
        if (change["xaxis.range[0]"] === undefined) return;
        [from, to] = [Number(change["xaxis.range[0]"]), Number(change["xaxis.range[1]"])];
        clamp();
        draw();
      });
      place.on("plotly_hover", ({ points }) => {
        const index = Math.round(points[0].x);
        if (prices[index]) reports({ crosshair: { time: prices[index].time, point: {}, seriesData: seriesAt(index) } });
      });
      place.on("plotly_unhover", () => reports({ crosshair: null }));
      place.on("plotly_click", ({ points, event }) => {
        const mark = points.find((point) => point.customdata);
        const box = place.getBoundingClientRect();
        reports({ click: { hoveredObjectId: mark && mark.customdata, point: { x: event.clientX - box.x, y: event.clientY - box.y } } });
      });
    }

    return {
      // Draw what is known now. `reset` begins at the newest bars, `newest` goes to them, `look` sets what is in view.
      render: (next, { reset: anew, newest, look, soon } = {}) => {
        const before = shown;
        const followed = before && to >= prices.length - 1;
        shown = next;
        if (!before || anew) {
          prices = next.rows.price;
          drawnBars = prices.length;
          reset();
        } else follow(followed);
        if (newest) [from, to] = [last() + ROOM_BARS - (to - from), last() + ROOM_BARS];
        if (look) [from, to] = [look.from, look.to];
        clamp();
        if (soon && timer !== null) return;
        clearTimeout(timer);
        timer = setTimeout(() => load().then(draw), soon ? LIVE_MS : 0);
      },
      clear: () => {
        shown = null;
        prices = [];
        if (window.Plotly && listening) window.Plotly.purge(place);
        listening = false;
      },
    };
  };
})();
