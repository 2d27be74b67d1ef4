// One WebSocket per tab. The server sends patches, the newest per key; one animation frame applies them, and only
// to components that are on the page. The connection comes back by itself, for ever.
(function () {
  "use strict";
  const FIRST_WAIT_MS = 500;
  const LONGEST_WAIT_MS = 15000;
  const SILENCE_MS = 12000; // the server says something every 5 s
  const EMPTY_MS = 5000;
  const BUSY_MS = 100;
  const NUDGE_MS = 1000; // a panel is read again once a second at most
  const CONFIRM_MS = 1500;
  const FOLD_BARS = 600; // live bars kept beside the series before they become part of it
  const MAX_BARS = 20000; // in a chart; each live bar costs in proportion
  const WATCH_MS = 400; // the watchlist follows a little later than the chart
  const STALE_MS = 15000; // without a word from a collector
  const QUIET_MS = 60000; // without a trade

  let socket = null;
  let wait = FIRST_WAIT_MS;
  let topics = [];
  let lastHeard = 0;
  let wasOpen = false;
  let frame = null;
  let queue = [];
  const nudged = {};
  const nudgeTimers = {};

  const live = (window.candlewick = {
    ready: false, // the first page is drawn
    offsetMs: 0, // server's clock minus ours
    venues: {}, // exchange to its collector's last word
    quotes: {}, // market to its last quote
    view: null, // the chart on the page, as the server described it
    lastTick: {}, // series id to a map of bars that came since its data were set, by time
    notes: {}, // what a candle lacks, by time
    serverNow: () => Date.now() + live.offsetMs,
    subscribe: (wanted) => {
      topics = wanted;
      send();
    },
  });

  const layoutOf = (id) => {
    if (!live.ready) return undefined;
    try {
      return window.dash_component_api.getLayout(id);
    } catch (error) {
      // Dash throws instead of answering when the page has no such component.
      if (error instanceof TypeError) return undefined;
      throw error;
    }
  };
  const onPage = (id) => Boolean(layoutOf(id));
  const set = (id, props) => {
    if (onPage(id)) window.dash_clientside.set_props(id, props);
  };
  live.set = set;
  live.layoutOf = layoutOf;

  // ---- connection

  function feed(state) {
    document.documentElement.dataset.feed = state;
  }

  function send() {
    if (socket && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ sub: document.hidden ? [] : topics }));
    }
  }

  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/ws/ui`);
    socket.onopen = () => {
      wait = FIRST_WAIT_MS;
      lastHeard = Date.now();
      feed("live");
      send();
      // What happened while we were away is read again; after that the news are enough.
      if (wasOpen) bump("live-epoch");
      wasOpen = true;
    };
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      lastHeard = Date.now();
      live.offsetMs = message.t / 1000 - lastHeard;
      for (const patch of message.m) queue.push(patch);
      if (queue.length && frame === null) frame = requestAnimationFrame(apply);
    };
    socket.onclose = () => {
      socket = null;
      feed("reconnecting");
      setTimeout(connect, wait * (0.7 + 0.6 * Math.random()));
      wait = Math.min(LONGEST_WAIT_MS, wait * 2);
    };
  }

  // ---- applying

  function apply() {
    frame = null;
    const patches = queue;
    queue = [];
    const ticks = [];
    const quotes = {};
    for (const patch of patches) {
      if (patch.k === "tick") ticks.push(patch);
      else if (patch.k === "quote") quotes[patch.m] = patch;
      else if (patch.k === "health") live.venues[patch.e] = patch;
      else if (patch.k === "nudge") nudge(patch.n);
      else if (patch.k === "job") applyJob(patch);
    }
    if (ticks.length) applyTicks(ticks);
    for (const market of Object.keys(quotes)) applyQuote(quotes[market]);
  }

  // Bars that came live since the series were set, by time; a series' own data do not learn of them.
  live.liveBars = (id) => {
    const bars = live.lastTick[id] ? Array.from(live.lastTick[id].values()) : [];
    return bars.sort((one, other) => one.time - other.time);
  };

  // The series with what came live, and with older rows in front where there are some.
  live.withLiveBars = (series, older = {}) =>
    series.map((one) => {
      const rows = [...(older[one.id] || []), ...one.data];
      for (const bar of live.liveBars(one.id)) {
        const at = rows.findLastIndex((row) => row.time <= bar.time);
        if (at >= 0 && rows[at].time === bar.time) rows[at] = bar;
        else rows.splice(at + 1, 0, bar);
      }
      return { ...one, data: rows.slice(-MAX_BARS) };
    });

  function storedBar(chart, id, time) {
    const series = (chart.series || []).find((one) => one.id === id);
    const rows = series ? series.data : [];
    let low = 0;
    let high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle].time <= time) low = middle;
      else high = middle - 1;
    }
    return rows[low] && rows[low].time === time ? rows[low] : undefined;
  }

  function firstTime(chart, id) {
    const series = (chart.series || []).find((one) => one.id === id);
    return series && series.data.length ? series.data[0].time : Infinity;
  }

  live.newestBar = (id) => {
    const layout = layoutOf("chart");
    const bars = live.liveBars(id);
    const series = ((layout && layout.props.series) || []).find((one) => one.id === id);
    const stored = series && series.data.length ? series.data[series.data.length - 1] : null;
    const newest = bars.length ? bars[bars.length - 1] : null;
    return !newest || (stored && stored.time > newest.time) ? stored : newest;
  };

  function applyTicks(ticks) {
    const layout = layoutOf("chart");
    if (!layout || !live.view) return;
    const known = new Set((layout.props.series || []).map((one) => one.id));
    const accepted = [];
    let mend = false;
    for (const tick of ticks) {
      if (tick.key !== live.view.key || !known.has(tick.id)) continue;
      if (tick.id === "price") live.notes[tick.bar.time] = tick.note;
      const { id, bar } = tick;
      const newest = live.newestBar(id);
      const seen = (live.lastTick[id] = live.lastTick[id] || new Map());
      const late = newest !== null && bar.time < newest.time;
      const stored = late && !seen.has(bar.time) ? storedBar(layout.props, id, bar.time) : undefined;
      if (stored && Object.keys(bar).every((name) => stored[name] === bar[name])) continue;
      if (late && !seen.has(bar.time) && !stored) {
        // The chart can revise an older bar, but not put a new one before the last: the series is set anew.
        if (bar.time > firstTime(layout.props, id)) {
          seen.set(bar.time, { ...bar });
          mend = true;
        }
        continue;
      }
      if (newest !== null && bar.time > newest.time) confirm(tick.key, id, newest.time);
      seen.set(bar.time, { ...bar });
      accepted.push({ id, bar: { ...bar }, historicalUpdate: late });
    }
    if (accepted.length) set("chart", { tick: accepted });
    const most = Math.max(0, ...Object.values(live.lastTick).map((seen) => seen.size));
    if (mend || most > FOLD_BARS) {
      const series = live.withLiveBars(layoutOf("chart").props.series);
      live.lastTick = {};
      set("chart", { series });
    }
    if (live.redrawLegend) live.redrawLegend();
  }

  // On a busy machine two ticks can fall into one drawing of the page, and the chart sees the later one alone. A bar
  // that is finished is therefore said once more.
  function confirm(key, id, time) {
    setTimeout(() => {
      const bar = live.lastTick[id] && live.lastTick[id].get(time);
      if (bar) applyTicks([{ key, id, bar, note: live.notes[time] }]);
    }, CONFIRM_MS);
  }

  function flash(id, way) {
    if (way === "flat" || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const element = document.getElementById(id);
    if (!element) return;
    const colour = getComputedStyle(document.documentElement).getPropertyValue(`--${way}-bg`);
    element.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], { duration: 500 });
  }

  const signOf = (way) => ({ up: "▲ ", down: "▼ ", flat: "" })[way];

  // Every property set makes Dash look through the whole page, so the rows of the watchlist wait for each other.
  const waiting = {};
  let watchTimer = null;

  function applyWatchlist() {
    watchTimer = null;
    for (const [market, quote] of Object.entries(waiting)) {
      delete waiting[market];
      const key = market.replaceAll(".", "_");
      set(`watch-last-${key}`, { children: quote.p });
      set(`watch-change-${key}`, { children: signOf(quote.cw) + quote.c, className: `num ${quote.cw}` });
      flash(`watch-last-${key}`, quote.w);
    }
  }

  function applyQuote(quote) {
    const before = live.quotes[quote.m];
    live.quotes[quote.m] = quote;
    const changed = !before || before.p !== quote.p;
    if (changed) {
      waiting[quote.m] = quote;
      if (watchTimer === null) watchTimer = setTimeout(applyWatchlist, WATCH_MS);
    }
    if (!live.view || live.view.market !== quote.m) return;
    if (changed) {
      set("strip-last", { children: quote.p, className: `last num ${quote.cw}` });
      set("strip-change", { children: signOf(quote.cw) + quote.c, className: `sub num ${quote.cw}` });
      if (quote.h) {
        set("strip-high", { children: quote.h });
        set("strip-low", { children: quote.l });
      }
      flash("strip-last", quote.w);
      document.title = `${quote.p} ${live.view.symbol} · Candlewick`;
      live.describeChart();
    }
  }

  // A canvas says nothing to a screen reader.
  live.describeChart = () => {
    const box = document.getElementById("chart-box");
    if (!box || !live.view) return;
    const quote = live.quotes[live.view.market];
    const words = [`Price chart of ${live.view.symbol}, ${live.view.timeframe}`];
    if (quote) words.push(`last price ${quote.p}, change in 24 hours ${quote.c}`);
    box.setAttribute("aria-label", words.join(", "));
  };

  // A page shows a job in components with these ids, wherever it likes.
  function applyJob(job) {
    set(`job-bar-${job.i}`, { value: job.p });
    set(`job-words-${job.i}`, { children: job.w });
  }

  // ---- reading again

  function bump(id) {
    const layout = layoutOf(id);
    if (layout) set(id, { data: (layout.props.data || 0) + 1 });
  }

  // Dash drops the answer to a question that was asked again meanwhile. Where answers take longer than news need to
  // arrive, a panel would never be filled: so nothing is asked again before everything asked is answered.
  let unanswered = 0;
  const plainFetch = window.fetch.bind(window);
  window.fetch = (...request) => {
    unanswered += 1;
    return plainFetch(...request).finally(() => {
      unanswered -= 1;
    });
  };

  function nudge(name) {
    const id = `nudge-${name}`;
    if (nudgeTimers[id]) return;
    const ask = () => {
      if (unanswered > 0) {
        nudgeTimers[id] = setTimeout(ask, BUSY_MS);
        return;
      }
      nudgeTimers[id] = null;
      nudged[id] = Date.now();
      bump(id);
    };
    nudgeTimers[id] = setTimeout(ask, Math.max(0, (nudged[id] || 0) + NUDGE_MS - Date.now()));
  }

  // ---- clock and ages, on the server's time

  function age(ms) {
    const seconds = Math.max(0, Math.round(ms / 1000));
    if (seconds < 60) return `${seconds}s`;
    const minutes = Math.floor(seconds / 60);
    return minutes < 60 ? `${minutes}m ${seconds % 60}s` : `${Math.floor(minutes / 60)}h ${minutes % 60}m`;
  }

  function feedBadge() {
    const text = document.getElementById("feed-text");
    const dot = document.getElementById("feed-dot");
    if (!text || !dot) return;
    const show = (kind, label, figure) => {
      dot.className = `dot ${kind}`;
      text.replaceChildren(label + (figure ? " " : ""));
      if (figure) {
        const strong = document.createElement("b");
        strong.className = "num";
        strong.textContent = figure;
        text.append(strong);
      }
    };
    const state = document.documentElement.dataset.feed;
    if (state !== "live") return show("poor", state === "connecting" ? "Connecting" : "Reconnecting");
    const exchange = live.view && live.view.exchange;
    const venue = exchange ? live.venues[exchange] : Object.values(live.venues)[0];
    if (!venue) return show("poor", "No collector");
    const silentMs = live.serverNow() - venue.a / 1000;
    if (silentMs > STALE_MS) return show("poor", "Silent", age(silentMs));
    if (venue.s === "live") return show("good", "Feed", `${venue.lag} ms`);
    return show(venue.s === "unreachable" ? "bad" : "poor", venue.s[0].toUpperCase() + venue.s.slice(1));
  }

  // A chart that has nothing to show yet, as on a desk that has just started, is asked for again until it has.
  let emptySince = 0;
  function askAgainForEmptyChart() {
    if (!document.querySelector("#chart-cover .panel-state") || document.hidden) emptySince = 0;
    else if (!emptySince) emptySince = Date.now();
    else if (Date.now() - emptySince > EMPTY_MS && unanswered === 0) {
      emptySince = Date.now();
      bump("live-epoch");
    }
  }

  function eachSecond() {
    askAgainForEmptyChart();
    const now = live.serverNow();
    const clock = document.getElementById("clock-text");
    if (clock) clock.textContent = new Date(now).toISOString().slice(11, 19);
    feedBadge();
    const note = document.getElementById("strip-age");
    if (note) {
      const quote = live.view && live.quotes[live.view.market];
      const quiet = quote ? now - quote.a / 1000 : 0;
      note.textContent = quiet > QUIET_MS ? `last trade ${age(quiet)} ago` : "";
    }
    if (socket && socket.readyState === WebSocket.OPEN && Date.now() - lastHeard > SILENCE_MS) socket.close();
  }

  document.addEventListener("visibilitychange", () => {
    send();
    if (!document.hidden && wasOpen) bump("live-epoch");
  });

  // The charts are drawn in the colours of the scheme: whoever changes it, the pages hear of it here.
  new MutationObserver(() => {
    const scheme = document.documentElement.getAttribute("data-mantine-color-scheme");
    const layout = layoutOf("scheme");
    if (layout && layout.props.data !== scheme) set("scheme", { data: scheme });
  }).observe(document.documentElement, { attributeFilter: ["data-mantine-color-scheme"] });

  setInterval(eachSecond, 1000);
  connect();
})();
