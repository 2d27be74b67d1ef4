// The last trades of the market on the chart and its best bid and ask, as the WebSocket tells them.
(function () {
  "use strict";
  const live = window.candlewick;
  const { make, chart, market, icon } = live;
  const ROWS = 40; // held and shown
  const SILENT_MS = 30000; // a bid and an ask of which nothing was heard for so long are not shown
  const QUIET_MS = 60000; // without a trade

  const panel = live.island("tape", "tape-island");
  const phone = matchMedia("(max-width:767px)");
  const head = make("button", "panel-head");
  const age = make("span", "stale num");
  head.type = "button";
  head.append(icon("receipt"), make("span", "", "Trades"), age, icon("chevron-down", "fold"));
  const body = make("div", "tape-body");
  body.id = "tape-body";
  head.setAttribute("aria-controls", body.id);
  const best = make("div", "best");
  const said = make("div", "tape-said");
  const titles = make("div", "tape-row tape-titles");
  titles.setAttribute("aria-hidden", "true");
  const list = make("ol", "tape-list");
  list.setAttribute("aria-label", "Last trades, the newest first");
  list.tabIndex = 0;
  body.append(best, said, titles, list);
  panel.append(head, body);

  // On a phone the panel is folded under the chart, elsewhere it stands open.
  const fold = () => {
    head.disabled = !phone.matches;
    head.setAttribute("aria-expanded", String(!phone.matches || panel.classList.contains("open")));
  };
  head.onclick = () => {
    panel.classList.toggle("open");
    fold();
  };
  phone.addEventListener("change", fold);
  fold();

  let tape = null; // of the market on the chart: how its numbers are written, its trades, its quote
  let drawnBest = "";

  function begin() {
    const name = chart.view ? chart.view.market : "";
    if (tape && tape.market === name) return;
    tape = name ? { market: name, head: null, trades: [], best: null } : null;
    list.replaceChildren();
    const base = chart.view ? chart.view.symbol.split("-")[0] : "";
    titles.replaceChildren(make("span", "", "Time"), make("span", "num", "Price"), make("span", "num", `Size, ${base}`));
    drawnBest = "";
    drawBest();
    say();
  }

  // ---- what the server tells

  live.tape = {
    topic: () => (chart.view ? `tape|${chart.view.market}` : ""),
    trades: () => (tape ? tape.trades : []),
    take: (patches) => {
      begin();
      const fresh = [];
      for (const patch of patches) {
        if (!tape || patch.m !== tape.market) continue;
        if (patch.k === "trade") fresh.push(patch);
        else if (patch.k === "best") keepBest(patch);
        else tape.head = patch;
      }
      if (fresh.length) add(fresh);
      drawBest();
      say();
    },
  };

  // A stored quote may come after a newer one that was told.
  function keepBest(quote) {
    if (!tape.best || quote.t >= tape.best.t) tape.best = quote;
  }

  // Trades come in order, but those stored may come again among them.
  function add(fresh) {
    const known = new Set(tape.trades.map((trade) => trade.i));
    const merged = [...tape.trades, ...fresh.filter((trade) => !known.has(trade.i) && known.add(trade.i))];
    merged.sort((one, other) => other.i - one.i);
    tape.trades = merged.slice(0, ROWS);
    drawTrades();
  }

  // ---- drawing

  const number = (value, decimals) => window.dashTvlwcFunctions[`price${decimals}`](value);

  // A row to be written: its parts keep their places, whichever trade stands in it.
  function emptyRow() {
    const row = make("li", "tape-row");
    const price = make("span", "num");
    const sign = make("i");
    sign.setAttribute("aria-hidden", "true");
    price.append(make("span", "visually-hidden"), sign, "");
    row.append(make("time", "num"), price, make("span", "num"));
    return row;
  }

  function write(row, trade) {
    const way = trade.s === "buy" ? "up" : "down";
    const [time, price, size] = row.children;
    const [words, sign, figure] = price.childNodes;
    row.dataset.id = trade.i;
    time.textContent = window.dashTvlwcFunctions.clock(trade.t / 1000);
    time.dateTime = new Date(trade.t / 1000).toISOString();
    price.className = `num ${way}`;
    words.textContent = way === "up" ? "bought at " : "sold at ";
    sign.textContent = way === "up" ? "▲" : "▼";
    figure.textContent = number(trade.p, tape.head.d);
    size.textContent = number(trade.q, tape.head.l);
  }

  // Rows stand still and are written anew: a trade that comes pushes nothing down the page.
  function drawTrades() {
    if (!tape.head || tape.head.error) return;
    while (list.children.length < tape.trades.length) list.append(emptyRow());
    while (list.children.length > tape.trades.length) list.lastChild.remove();
    tape.trades.forEach((trade, index) => {
      const row = list.children[index];
      if (row.dataset.id !== String(trade.i)) write(row, trade);
    });
  }

  function side(title, price, size, way) {
    const element = make("div", "fact");
    const value = make("span", `num ${way}`, price);
    element.append(make("span", "", title), value, make("small", "num", size));
    return element;
  }

  // The sentence in the place of a bid and an ask that are not known now, or null while they are.
  function noBest() {
    if (!tape || !tape.head || tape.head.error) return "";
    const silentMs = tape.best ? live.serverNow() - tape.best.t / 1000 : 0;
    if (tape.best && silentMs <= SILENT_MS) return null;
    if (tape.head.on === false) return "Best bid and ask are not recorded for this market.";
    if (!tape.best) return "No best bid and ask yet: the quotes channel has said nothing.";
    return `Best bid and ask are silent: the last was heard ${live.age(silentMs)} ago.`;
  }

  function drawBest() {
    const why = noBest();
    const quote = tape && tape.best;
    const text = why === null ? `${quote.b}|${quote.bq}|${quote.a}|${quote.aq}` : `!${why}`;
    if (text === drawnBest) return;
    drawnBest = text;
    best.replaceChildren();
    if (why === "") return;
    if (why !== null) {
      const link = make("a", "", tape.head.on === false ? "Turn it on in Settings" : "See the collectors");
      link.href = tape.head.on === false ? "/settings" : "/system";
      link.dataset.ours = "";
      best.append(make("p", "muted", why), link);
      return;
    }
    const { d, l } = tape.head;
    const bps = (1e4 * 2 * (quote.a - quote.b)) / (quote.a + quote.b);
    best.append(
      side("Bid", number(quote.b, d), number(quote.bq, l), "up"),
      side("Spread", `${number(bps, bps < 0.095 ? 3 : 2)} bps`, number(quote.a - quote.b, d), ""),
      side("Ask", number(quote.a, d), number(quote.aq, l), "down")
    );
  }

  function say() {
    let words = "";
    if (tape && tape.head && tape.head.error) words = `The last trades cannot be shown. ${tape.head.error}`;
    else if (tape && tape.head && !tape.trades.length) words = "No trade of this market is stored yet. The first appears here.";
    said.textContent = words;
    said.hidden = !words;
    titles.hidden = list.hidden = Boolean(words);
    if (tape && tape.head && tape.trades.length && !list.children.length) drawTrades();
    panel.dataset.loading = String(Boolean(tape && !tape.head));
  }

  market.onShown.push(begin);
  live.onWriting.push(() => {
    list.replaceChildren();
    drawnBest = "";
    if (!tape) return;
    drawTrades();
    drawBest();
  });
  setInterval(() => {
    if (!tape || document.hidden) return;
    drawBest();
    const newest = tape.trades[0];
    const quietMs = newest ? live.serverNow() - newest.t / 1000 : 0;
    age.textContent = quietMs > QUIET_MS ? `last ${live.age(quietMs)} ago` : "";
  }, 1000);
})();
