// What the pages do in the browser without asking the server: the address and what is subscribed to.
(function () {
  "use strict";
  const live = window.candlewick;
  const NONE = () => window.dash_clientside.no_update;
  const query = () => Object.fromEntries(new URLSearchParams(location.search));

  function address(changes) {
    const params = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) params.set(name, value);
      else params.delete(name);
    }
    return "?" + params.toString();
  }

  let pages = {}; // what the server says of each page, by its address
  live.pages = () => pages;

  // The address of the page in the window: the first one stands for the bare address.
  const current = () => (location.pathname === "/" ? "/market" : location.pathname);

  // A page may watch more than its own topics, such as one job: it says so with `live.watchAlso`.
  let also = { page: "", topics: [] };

  function subscribe() {
    const page = current();
    const wanted = ["health", "desk", ...((pages[page] || {}).topics || [])];
    if (also.page === page) wanted.push(...also.topics);
    if (page === "/market" && live.view) wanted.push(live.view.topic, live.tape.topic());
    live.subscribe(wanted);
  }

  live.market.onShown.push(subscribe);

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
      live.adopt();
      const first = document.getElementById("first-paint");
      if (first && (page !== "/market" || document.querySelector("#react-entry-point #chart-panel"))) first.remove();
      live.stands();
      if (page !== "/market") {
        live.view = null;
        document.title = pages[page] ? `${pages[page].title} · Candlewick` : "Candlewick";
      }
      subscribe();
      return NONE();
    },

    scheme: (_pathname, before) => (live.scheme() === before ? NONE() : live.scheme()),

    // What the Market page is to show: the address, the scheme, and a count that grows when all is to be read again.
    // The chart and the watchlist read for themselves, Dash's panels by what is returned.
    marketRequest: (search, epoch, _scheme, before) => {
      const wanted = query();
      const request = {
        venue: wanted.venue || "",
        symbol: wanted.symbol || "",
        tf: wanted.tf || "",
        overlay: wanted.overlay || "",
        scheme: live.scheme(),
        epoch: epoch || 0,
      };
      live.market.follow(request.epoch);
      if (before && JSON.stringify(before) === JSON.stringify(request)) return NONE();
      return request;
    },

    botsNews: (count) => {
      live.market.readMarks();
      return count;
    },
    signalsNews: (count) => {
      live.market.readMarks();
      return count;
    },
    healthNews: (count) => count,

    toLatest: () => {
      live.chart.toLatest();
      return NONE();
    },

    fullScreen: () => {
      const panel = document.getElementById("chart-panel");
      if (document.fullscreenElement) document.exitFullscreen();
      else if (panel) panel.requestFullscreen();
      return NONE();
    },

    // The selects of the symbol strip write the address, and only when a person really chose something else: what
    // stands in the address may be newer than the selects.
    chooseMarket: (venue, symbol, markets) => {
      if (!venue || !markets) return NONE();
      const symbols = markets[venue] || [];
      const found = symbols.includes(symbol) ? symbol : live.view || symbol ? symbols[0] : null;
      if (!found) return NONE();
      const [exchange, before] = live.view ? live.view.market.split(/:(.*)/s) : [];
      if (exchange === venue && before === found) return NONE();
      const asked = query();
      if (asked.venue === venue && asked.symbol === found) return NONE(); // its chart is on the way
      return live.address({ venue, symbol: found }).slice("/market".length);
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

    // Another symbol on the Market page keeps the layout of the chart.
    search: (value) => {
      if (!value) return [NONE(), NONE()];
      if (current() !== "/market" || !value.startsWith("/market?")) return [value, null];
      const { venue, symbol } = Object.fromEntries(new URLSearchParams(value.split("?")[1]));
      return [live.address({ venue, symbol }), null];
    },

    confirmName: (typed, name) => !name || typed !== name,
  };
})();
