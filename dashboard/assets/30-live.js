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

  const live = Object.assign(window.candlewick, {
    ready: false, // the first page is drawn
    offsetMs: 0, // server's clock minus ours
    venues: {}, // exchange to its collector's last word
    quotes: {}, // market to its last quote
    view: window.candlewick.view || null, // the chart on the page, as the server described it
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
  // Everything on the page is written anew: by our scripts where they draw it, else by reading the page again.
  live.rewrite = () => {
    if (live.layoutOf("market-request")) bump("live-epoch");
    else location.reload();
  };
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
    const taped = [];
    for (const patch of patches) {
      if (patch.k === "tick") ticks.push(patch);
      else if (patch.k === "quote") quotes[patch.m] = patch;
      else if (patch.k === "health") live.venues[patch.e] = patch;
      else if (patch.k === "nudge") nudge(patch.n);
      else if (patch.k === "job") applyJob(patch);
      else if (patch.k === "trade" || patch.k === "best" || patch.k === "tape") taped.push(patch);
    }
    if (taped.length) live.tape.take(taped);
    if (ticks.length) live.chart.tick(ticks);
    for (const quote of Object.values(quotes)) {
      const before = live.quotes[quote.m];
      live.quotes[quote.m] = quote;
      live.market.quote(quote, before);
    }
  }

  // A page shows a job in components with these ids, wherever it likes.
  function applyJob(job) {
    set(`job-bar-${job.i}`, { value: job.p });
    set(`job-words-${job.i}`, { children: live.written(job.w) });
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
    const answer = plainFetch(...request).finally(() => {
      unanswered -= 1;
    });
    // Another page than the Market may be made of components whose scripts come last.
    const asked = (request[1] && request[1].body) || "";
    const turns = typeof asked === "string" && asked.includes('"output":"page.children"');
    return turns && location.pathname !== "/market" ? live.others().then(() => answer) : answer;
  };

  function nudge(name) {
    const id = name === "chart" ? "live-epoch" : `nudge-${name}`;
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

  live.age = age;

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
    if (clock) clock.textContent = window.dashTvlwcFunctions.clock(now);
    const zone = document.getElementById("clock-zone");
    if (zone && zone.textContent !== live.zone) zone.textContent = live.zone;
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
    const scheme = live.scheme();
    const layout = layoutOf("scheme");
    if (layout && layout.props.data !== scheme) set("scheme", { data: scheme });
  }).observe(document.documentElement, { attributeFilter: ["data-mantine-color-scheme", "data-palette"] });

  setInterval(eachSecond, 1000);
  connect();
})();
