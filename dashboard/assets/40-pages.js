// What the pages do in the browser without asking the server: the address, the legend, history, shortcuts.
(function () {
  "use strict";
  const live = window.candlewick;
  const NONE = () => window.dash_clientside.no_update;
  const EARLY_BARS = 150; // fewer than that left of the view: fetch more
  const MAX_BARS = 20000;
  let asked = null; // what history was asked for, so that it is asked for once
  let hovered = null;

  const scheme = () => document.documentElement.getAttribute("data-mantine-color-scheme");
  const query = () => Object.fromEntries(new URLSearchParams(location.search));

  function address(changes) {
    const params = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) params.set(name, value);
      else params.delete(name);
    }
    return "?" + params.toString();
  }

  function priceSeries(layout) {
    return ((layout && layout.props.series) || []).find((one) => one.id === "price");
  }

  // ---- the legend over the chart

  function span(className, text, colour) {
    const element = document.createElement("span");
    if (className) element.className = className;
    if (colour) element.style.color = colour;
    element.textContent = text;
    return element;
  }

  function pair(key, value, way, className) {
    const element = span(`num ${way} ${className || ""}`, "");
    element.append(span("k", key), value);
    return element;
  }

  live.redrawLegend = () => {
    const figures = document.getElementById("legend-figures");
    const lines = document.getElementById("legend-lines");
    if (!figures || !lines) return;
    const view = live.view;
    const bar = view && ((hovered && hovered.price) || (!hovered && live.newestBar("price")));
    figures.replaceChildren();
    lines.replaceChildren();
    if (!view) return;
    const format = window.dashTvlwcFunctions["price" + view.decimals];
    const name = document.createElement("b");
    name.textContent = `${view.symbol} · ${view.timeframe}`;
    figures.append(name);
    if (bar && bar.close !== undefined) {
      const change = bar.close / bar.open - 1;
      // By what is shown: 0.00% has neither colour nor sign.
      const size = Math.abs(change * 100).toFixed(2);
      const way = Number(size) === 0 ? "flat" : change > 0 ? "up" : "down";
      const percent = { up: "+", down: "−", flat: "" }[way] + size + "%";
      figures.append(
        pair("O", format(bar.open), way, "ohl"),
        pair("H", format(bar.high), way, "ohl"),
        pair("L", format(bar.low), way, "ohl"),
        pair("C", format(bar.close), way),
        span(`num ${way}`, percent)
      );
      if (live.notes[bar.time]) figures.append(span("stale", live.notes[bar.time]));
      const volume = hovered ? hovered.volume : live.newestBar("volume");
      if (volume && volume.value !== undefined) {
        figures.append(pair("Vol", window.dashTvlwcFunctions.compact(volume.value), "flat", "ohl"));
      }
    }
    for (const line of view.overlays) {
      const point = hovered ? hovered[line.id] : live.newestBar(line.id);
      const key = span("key num", "");
      const mark = document.createElement("i");
      mark.style.background = line.colour;
      key.append(mark, line.label);
      if (point && point.value !== undefined) {
        const own = line.pane === "price" ? format : window.dashTvlwcFunctions.price2;
        key.append(" ", span("", own(point.value), line.colour));
      }
      lines.append(key);
    }
    for (const [colour, label] of view.marks) {
      const key = span("key", "");
      const mark = document.createElement("i");
      mark.className = "round";
      mark.style.background = colour;
      key.append(mark, label);
      lines.append(key);
    }
  };

  // Which of several links is the current one is said in a class; screen readers hear it from the attribute.
  new MutationObserver(() => {
    for (const link of document.querySelectorAll("a.tf, a.watch-row")) {
      const current = link.classList.contains("current");
      if (current === link.hasAttribute("aria-current")) continue;
      if (current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }).observe(document.documentElement, { subtree: true, childList: true, attributeFilter: ["class"] });

  let pages = {}; // what the server says of each page, by its address

  // The address of the page in the window: the first one stands for the bare address.
  const current = () => (location.pathname === "/" ? "/market" : location.pathname);

  // A page may watch more than its own topics, such as one job: it says so with `live.watchAlso`.
  let also = { page: "", topics: [] };

  function subscribe() {
    const page = current();
    const wanted = ["health", "desk", ...((pages[page] || {}).topics || [])];
    if (also.page === page) wanted.push(...also.topics);
    if (page === "/market" && live.view) wanted.push(live.view.topic);
    live.subscribe(wanted);
  }

  live.watchAlso = (topics) => {
    also = { page: current(), topics: topics || [] };
    subscribe();
  };

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.candlewick = {
    // Marks the page in the navigation and watches what it shows.
    page: (_children, _pathname, known) => {
      live.ready = true;
      pages = known || {};
      const page = current();
      for (const link of document.querySelectorAll("a.nav")) {
        if (link.getAttribute("href") === page) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      if (page !== "/market") {
        live.view = null;
        document.title = pages[page] ? `${pages[page].title} · Candlewick` : "Candlewick";
      }
      subscribe();
      return NONE();
    },

    // What the Market page is to show: the address, the scheme, and a count that grows when all is to be read again.
    marketRequest: (search, epoch, _scheme, before) => {
      const panel = document.getElementById("chart-panel");
      const wanted = query();
      const request = {
        venue: wanted.venue || "",
        symbol: wanted.symbol || "",
        tf: wanted.tf || "",
        overlay: wanted.overlay || "",
        scheme: scheme(),
        epoch: epoch || 0,
      };
      if (before && JSON.stringify(before) === JSON.stringify(request)) return NONE();
      const view = live.view;
      const same = view && view.symbol === request.symbol && view.timeframe === request.tf;
      if (panel && !same) panel.dataset.loading = "true";
      return request;
    },

    // A new chart stands: forget what belonged to the old one and watch the new one.
    chartShown: (view) => {
      const panel = document.getElementById("chart-panel");
      if (panel) panel.dataset.loading = "false";
      // The same chart with more history keeps what came live.
      if (!view || !live.view || live.view.at !== view.at) {
        live.lastTick = {};
        live.notes = {};
        asked = null;
        hovered = null;
      }
      live.view = view || null;
      live.redrawLegend();
      live.describeChart();
      subscribe();
      const quote = view && live.quotes[view.market];
      if (view) document.title = `${quote ? quote.p + " " : ""}${view.symbol} · Candlewick`;
      return NONE();
    },

    crosshair: (crosshair) => {
      hovered = crosshair && crosshair.time !== null && crosshair.point ? crosshair.seriesData : null;
      if (hovered && !hovered.price) hovered = null;
      live.redrawLegend();
      return NONE();
    },

    // Ask for older candles when the view comes near the oldest one.
    wantHistory: (bars, view) => {
      if (!bars || !view || !view.more || bars.barsBefore >= EARLY_BARS) return NONE();
      const series = priceSeries(live.layoutOf("chart"));
      if (!series || !series.data.length || series.data.length >= MAX_BARS) return NONE();
      const request = { ...view.request, key: view.key, before: series.data[0].time };
      const name = `${request.key}|${request.before}`;
      if (asked === name) return NONE();
      asked = name;
      return request;
    },

    // Put older candles in front. Bars that came live since are not in the property, so they are put back too.
    joinHistory: (chunk, view) => {
      const layout = live.layoutOf("chart");
      if (!chunk || !layout || !view || chunk.key !== view.key) return [NONE(), NONE()];
      const price = priceSeries(layout);
      if (!price || !price.data.length || price.data[0].time !== chunk.before) return [NONE(), NONE()];
      const series = live.withLiveBars(layout.props.series, chunk.rows);
      live.lastTick = {};
      const oldest = (chunk.rows.price || [])[0];
      const next = { ...view, more: chunk.more, first: oldest ? oldest.time : view.first };
      live.view = next;
      return [series, next];
    },

    // Markers and lines change without touching the candles, whose array stays the same object.
    mark: (marks, shown) => {
      const layout = live.layoutOf("chart");
      const view = live.view;
      if (!marks || !layout || !view || marks.key !== view.key) return NONE();
      const show = shown !== false;
      const drawn = priceSeries(layout) || {};
      const wanted = [show ? marks.markers : [], show ? marks.lines : []];
      if (JSON.stringify(wanted) === JSON.stringify([drawn.markers, drawn.priceLines])) return NONE();
      return layout.props.series.map((one) =>
        one.id === "price"
          ? { ...one, markers: show ? marks.markers : [], priceLines: show ? marks.lines : [] }
          : one
      );
    },

    toggle: (clicks, shown) => {
      const next = !(shown !== false);
      const button = document.getElementById("marks-toggle");
      if (button) button.setAttribute("aria-pressed", String(next));
      return next;
    },

    toLatest: () => ({ action: "scrollToRealTime", nonce: Date.now() }),

    fullScreen: () => {
      const panel = document.getElementById("chart-panel");
      if (document.fullscreenElement) document.exitFullscreen();
      else if (panel) panel.requestFullscreen();
      return NONE();
    },

    // The selects of the symbol strip write the address, and only when it really changes.
    chooseMarket: (venue, symbol, overlay, markets) => {
      const wanted = query();
      if (!venue || !symbol || !overlay || !markets || !live.view) return NONE();
      const symbols = markets[venue] || [];
      const found = symbols.includes(symbol) ? symbol : symbols[0];
      if (!found) return NONE();
      const [exchange, before] = live.view.market.split(/:(.*)/s);
      if (exchange === venue && before === found && live.view.overlay === overlay) return NONE();
      return address({ venue, symbol: found, tf: wanted.tf || live.view.timeframe, overlay });
    },

    chooseBot: (selected, shown) => {
      const name = selected && selected.length ? selected[0].id : null;
      return !name || name === shown ? NONE() : address({ bot: name });
    },

    markBot: (name) => (name ? { ids: [name] } : NONE()),

    // The bot in the address, else the first one in the table.
    selectedBot: (search, shown) => {
      const named = query().bot;
      return named || (shown && shown.length ? shown[0] : null);
    },

    search: (value) => (value ? [value, null] : [NONE(), NONE()]),

    confirmName: (typed, name) => !name || typed !== name,
  };

  // ---- shortcuts

  // Mantine marks the first hit, but does not always take it when Enter is pressed.
  document.addEventListener(
    "keydown",
    (event) => {
      const field = event.target;
      if (event.key !== "Enter" || event.isComposing || field.id !== "search" || !field.value) return;
      const list = document.getElementById(field.getAttribute("aria-controls"));
      const hit =
        list && (list.querySelector("[data-combobox-selected]") || list.querySelector("[data-combobox-option]"));
      if (!hit) return;
      event.preventDefault();
      event.stopPropagation();
      hit.click();
    },
    true
  );

  let prefix = 0;
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const writing = target.closest && target.closest("input, textarea, [contenteditable=true]");
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      const search = document.getElementById("search");
      if (search) search.focus();
      return;
    }
    if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "g") {
      prefix = Date.now();
      return;
    }
    const asked = Date.now() - prefix < 1200;
    const page = asked && Object.keys(pages).find((path) => pages[path].key === event.key);
    prefix = 0;
    if (page) {
      const link = document.querySelector(`a.nav[href="${page}"]`);
      if (link) link.click();
      return;
    }
    const frames = document.querySelectorAll("#timeframes a.tf");
    const index = Number(event.key) - 1;
    if (frames[index]) frames[index].click();
  });
})();
