// The Market page around its chart: what the address asks for is read and shown; prices stay fresh by themselves.
(function () {
  "use strict";
  const live = window.candlewick;
  const { make, chart } = live;
  const TIMEFRAMES = "1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w".split(" ");
  const COMMON = new Set("1s 1m 5m 15m 1h 4h 1d".split(" "));
  const WATCH_MS = 250; // the watchlist follows a little later than the chart

  const market = (live.market = { watch: [], strip: null });
  const facts = live.island("facts", "facts-island");
  const frames = live.island("timeframes", "tools-island");
  const watchlist = live.island("watchlist", "watch-island");
  frames.id = "timeframes";
  watchlist.id = "watchlist";

  const link = (href, className, ...content) => {
    const element = make("a", className);
    element.href = href;
    element.append(...content);
    return element;
  };
  const icon = (name, more) => {
    const element = make("span", `i i-${name} ${more || ""}`.trim());
    element.setAttribute("aria-hidden", "true");
    return element;
  };
  live.icon = icon;

  // The address of the page with some of its words changed; those that are empty are left out.
  live.address = (changes) => {
    const query = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) {
      if (value) query.set(name, value);
      else query.delete(name);
    }
    return `/market?${query}`;
  };

  // Go to an address of ours without loading the document again.
  live.go = (href) => {
    if (!live.ready) {
      location.href = href;
      return;
    }
    history.pushState({}, "", href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  };
  document.addEventListener("click", (event) => {
    const target = event.target.closest && event.target.closest("[data-ours] a[href], a[data-ours]");
    if (!target || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    live.go(target.getAttribute("href"));
  });
  for (const element of Object.values(live.islands)) element.dataset.ours = "";

  // ---- reading

  let stands;
  live.pageReady = new Promise((done) => (stands = done));
  live.stands = () => stands(); // Dash has drawn a page

  // Read what the address asks for, unless it is on the screen; `epoch` grows when all is to be read again.
  let followed = "";
  market.onFollow = []; // called when the address may say something else
  market.adopted = () => (followed = `${live.marketQuery()}|${followed.split("|").pop()}`); // it is shown already
  let layers = new URLSearchParams(location.search).get("layers") || "";
  market.follow = (epoch) => {
    const asked = `${live.marketQuery()}|${epoch}`;
    const wanted = new URLSearchParams(location.search).get("layers") || "";
    const changed = wanted !== layers;
    layers = wanted;
    market.onFollow.forEach((tell) => tell());
    if (asked === followed && live.view) {
      if (changed) market.readMarks();
      return;
    }
    if (asked !== followed && followed) market.readWatch().catch(() => null); // what is shown stays
    followed = asked;
    market.show();
  };

  let reading = 0;

  // Show what the address asks for. What is on the screen stays until the answer is there.
  market.show = (early) => {
    const query = live.marketQuery();
    const number = (reading += 1);
    const asked = new URLSearchParams(query);
    const view = chart.view;
    const same = view && view.symbol === asked.get("symbol") && view.timeframe === asked.get("tf");
    if (!same) live.islands.chart.dataset.loading = "true";
    const answer = early && live.early && live.early.query === query ? live.early.chart : null;
    live.early = null;
    return (answer || live.read(`/desk/chart?${query}`)).then(
      (body) => number === reading && take(body),
      (error) => number === reading && take({ view: null, error: "The server does not answer.", cause: String(error) })
    );
  };

  // The default layout of a bare address goes into the address, which says from then on what is shown.
  function fill(words) {
    history.replaceState(history.state, "", live.address(words));
    layers = words.layers;
    market.adopted();
    if (live.ready) window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
  }

  function take(body) {
    live.islands.chart.dataset.loading = "false";
    if (body.address) fill(body.address);
    showCover(body);
    if (body.view) {
      chart.show(body);
      drawStrip(body.strip);
    } else {
      chart.clear();
      drawStrip(null);
    }
    drawFrames();
    markCurrent();
    (market.onShown || []).forEach((tell) => tell(body));
  }
  market.onShown = [];

  function showCover(body) {
    const place = live.islands.chart.querySelector("#chart-cover");
    place.replaceChildren();
    const said = body.error
      ? { icon: "alert-triangle", text: `The chart cannot be shown. ${body.error}`, links: [], bad: true }
      : body.cover;
    if (!said) return;
    const state = make("div", said.bad ? "panel-state error" : "panel-state");
    if (said.bad) state.setAttribute("role", "alert");
    const actions = make("div", "state-action");
    for (const one of said.links) actions.append(link(one.href, "button", one.text));
    if (said.bad) {
      const again = make("button", "button", "Try again");
      again.onclick = () => market.show();
      actions.append(again);
      if (body.number) actions.append(make("span", "muted mono", `Log number ${body.number}`));
    }
    state.append(icon(said.icon, said.bad ? "big down" : "big"), make("p", "", said.text), actions);
    place.append(state);
  }

  // ---- the strip

  function fact(name, value, id) {
    const element = make("div", "fact");
    const figure = make("span", "num", value);
    figure.id = id;
    element.append(make("span", "", name), figure);
    return element;
  }

  function drawStrip(strip) {
    market.strip = strip;
    facts.replaceChildren();
    const symbol = document.querySelector("#first-paint .first-symbol b");
    if (symbol && chart.view) {
      symbol.textContent = chart.view.symbol;
      symbol.previousElementSibling.textContent = chart.view.symbol[0];
    }
    if (!strip) return;
    const block = make("div", "price-block");
    const last = make("div", `last num ${strip.way}`, strip.last);
    last.id = "strip-last";
    const change = make("div", `sub num ${strip.way}`, strip.change);
    change.id = "strip-change";
    block.append(last, change);
    facts.append(
      block,
      fact("24h high", strip.high, "strip-high"),
      fact("24h low", strip.low, "strip-low"),
      fact("24h volume", strip.volume, "strip-volume")
    );
    describe();
  }

  // A canvas says nothing to a screen reader.
  function describe() {
    const place = document.getElementById("chart-box");
    const { view } = chart;
    if (!place || !view) return;
    const last = document.getElementById("strip-last");
    const change = document.getElementById("strip-change");
    const words = [`Price chart of ${view.symbol}, ${view.timeframe}`];
    if (last && change) words.push(`last price ${last.textContent}, change in 24 hours ${change.textContent}`);
    place.setAttribute("aria-label", words.join(", "));
  }
  market.describe = describe;

  // ---- time frames

  function drawFrames() {
    frames.replaceChildren();
    const current = (chart.view && chart.view.timeframe) || new URLSearchParams(location.search).get("tf") || "1m";
    for (const frame of TIMEFRAMES) {
      const shown = COMMON.has(frame) || frame === current;
      const element = link(live.address({ tf: frame }), `tf ${shown ? "" : "rare"}`.trim(), frame);
      element.id = `tf-${frame}`;
      if (frame === current) {
        element.classList.add("current");
        element.setAttribute("aria-current", "true");
      }
      frames.append(element);
    }
    const more = make("button", "tool");
    more.type = "button";
    more.setAttribute("aria-label", "More time frames");
    more.setAttribute("aria-expanded", String(frames.classList.contains("all")));
    more.append(icon("chevron-right"));
    more.onclick = () => {
      frames.classList.toggle("all");
      more.setAttribute("aria-expanded", String(frames.classList.contains("all")));
    };
    frames.append(more);
  }

  // ---- the watchlist

  const rowOf = {}; // market to the elements of its row

  market.readWatch = () =>
    live.read(`/desk/watch?scheme=${live.scheme()}`).then((body) => {
      market.watch = body.rows || [];
      market.watchError = body.error || "";
      market.drawWatch();
      market.onWatch.forEach((tell) => tell());
    });
  market.onWatch = []; // called when the markets were read
  live.onWriting.push(() => market.readWatch().catch(() => null)); // what is shown stays

  market.wanted = () => market.watch; // which rows, in which order
  market.whyEmpty = () => null; // what to say in their place

  market.drawWatch = () => {
    watchlist.replaceChildren();
    for (const name of Object.keys(rowOf)) delete rowOf[name];
    if (market.watchError) {
      const state = make("div", "panel-state error");
      const again = make("button", "button", "Try again");
      again.onclick = market.readWatch;
      state.append(icon("alert-triangle", "big down"), make("p", "", market.watchError), again);
      watchlist.append(state);
      return;
    }
    const rows = market.wanted();
    if (!rows.length) {
      const state = make("div", "panel-state");
      const why = market.whyEmpty() || { words: "No market has candles yet. They appear here as collectors store them." };
      state.append(icon("star", "big"), make("p", "", why.words));
      if (why.act) {
        const act = make("button", "button", why.act[0]);
        act.type = "button";
        act.onclick = why.act[1];
        state.append(act);
      }
      watchlist.append(state);
      return;
    }
    const head = make("div", "watch-row watch-head");
    head.setAttribute("aria-hidden", "true");
    head.append(make("span", "", "Symbol"), make("span", "", "24h"), make("span", "num", "Last"), make("span", "num", "Change"));
    watchlist.append(head, ...rows.map(watchRow));
    markCurrent();
  };

  function watchRow(row) {
    const name = make("span", "name");
    name.append(make("b", "", row.base), make("span", "muted", "-" + row.quote), make("small", "", row.where));
    const spark = make(row.spark ? "img" : "span");
    if (row.spark) {
      spark.src = row.spark;
      spark.alt = "";
    }
    const last = make("span", "num", row.last);
    last.id = `watch-last-${row.market}`;
    const change = make("span", `num ${row.way}`, row.change);
    change.id = `watch-change-${row.market}`;
    const element = link("", "watch-row", name, spark, last, change);
    rowOf[row.market] = { element, last, change, row };
    return element;
  }

  function markCurrent() {
    const shown = chart.view ? chart.view.market : "";
    for (const [name, { element, row }] of Object.entries(rowOf)) {
      element.href = live.address({ venue: row.venue, symbol: row.symbol });
      element.classList.toggle("current", name === shown);
      if (name === shown) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
    }
  }

  // ---- live prices

  const signOf = (way) => ({ up: "▲ ", down: "▼ ", flat: "" })[way];
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  function flash(element, way) {
    if (way === "flat" || still.matches || !element) return;
    const colour = getComputedStyle(document.documentElement).getPropertyValue(`--${way}-bg`);
    element.animate([{ backgroundColor: colour }, { backgroundColor: "transparent" }], { duration: 500 });
  }

  const waiting = {};
  let watchTimer = null;

  function freshenWatch() {
    watchTimer = null;
    for (const [name, quote] of Object.entries(waiting)) {
      delete waiting[name];
      const known = rowOf[name];
      if (!known) continue;
      known.last.textContent = quote.p;
      known.change.textContent = signOf(quote.cw) + quote.c;
      known.change.className = `num ${quote.cw}`;
      Object.assign(known.row, { last: quote.p, change: signOf(quote.cw) + quote.c, way: quote.cw });
      flash(known.last, quote.w);
    }
  }

  market.quote = (told, before) => {
    if (before && before.p === told.p) return;
    const quote = { ...told };
    for (const name of ["p", "c", "h", "l"]) quote[name] = live.written(told[name]);
    waiting[quote.m] = quote;
    if (watchTimer === null) watchTimer = setTimeout(freshenWatch, WATCH_MS);
    if (!chart.view || chart.view.market !== quote.m) return;
    const put = (id, text, className) => {
      const element = document.getElementById(id);
      if (!element) return null;
      element.textContent = text;
      if (className) element.className = className;
      return element;
    };
    const last = put("strip-last", quote.p, `last num ${quote.cw}`);
    put("strip-change", signOf(quote.cw) + quote.c, `sub num ${quote.cw}`);
    if (quote.h) {
      put("strip-high", quote.h);
      put("strip-low", quote.l);
    }
    flash(last, quote.w);
    document.title = `${quote.p} ${chart.view.symbol} · Candlewick`;
    describe();
  };

  // ---- signals and fills

  let marking = 0;
  market.readMarks = () => {
    const { view, rows } = chart;
    if (!view || !rows.price.length) return Promise.resolve();
    const number = (marking += 1);
    const query = live.marketQuery({ layers, first: rows.price[0].time });
    return live.read(`/desk/marks?${query}`).then(
      (body) => {
        if (number !== marking || !chart.view || body.key !== chart.view.key) return;
        market.notes = body.notes;
        market.layers = body.choices;
        chart.mark({ markers: body.markers, lines: body.lines });
        market.onMarks.forEach((tell) => tell(body));
      },
      () => null // the panels beside the chart say what is wrong
    );
  };
  market.onMarks = [];
  chart.onHistory = () => market.readMarks();
  market.onShown.push(() => market.readMarks());

  // ---- beginning

  if (document.documentElement.dataset.first === "market") {
    live.adopt();
    drawFrames();
    followed = `${live.marketQuery()}|0`;
    market.show(true);
    market.readWatch().catch(() => null); // the page reads it again
  }
})();
