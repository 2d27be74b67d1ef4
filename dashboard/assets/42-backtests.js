// How the table of trades writes its numbers, and where the Backtests page keeps what it compares.
(function () {
  "use strict";
  const forms = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

  function grouped(value, least, most) {
    const text = value.toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: most });
    return window.candlewick.written(text.replace("-", "−"));
  }

  function signed(value, unit) {
    if (!known(value)) return "–";
    const text = grouped(Math.abs(value), 2, 2);
    if (!/[1-9]/.test(text)) return text + unit;
    return (value > 0 ? "+" : "−") + text + unit;
  }

  forms.tradeExact = (value) => (known(value) ? grouped(value, 0, 10) : "–");
  forms.tradeMoney = (value) => (known(value) ? grouped(value, 2, 2) : "–");
  forms.tradeSigned = (value) => signed(value, "");
  forms.tradePercent = (value) => signed(value * 100, "%");
})();

(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.backtests = {
    filter: (words) => {
      const params = new URLSearchParams(location.search);
      if (location.pathname !== "/backtests" || words === undefined || (params.get("q") || "") === (words || "")) {
        return NONE();
      }
      if (words) params.set("q", words);
      else params.delete("q");
      const text = params.toString();
      return text ? "?" + text : "";
    },

    scheme: () => window.candlewick.scheme(),

    span: () => {
      const told = window.dash_clientside.callback_context.triggered.filter((one) => one.value);
      if (told.length !== 1) return [NONE(), NONE()];
      const days = JSON.parse(told[0].prop_id.slice(0, told[0].prop_id.lastIndexOf("."))).days;
      const from = new Date(window.candlewick.serverNow() - days * 86400000);
      return [days ? from.toISOString().slice(0, 16) + "Z" : "", ""];
    },

    // A click on a trade in the table shows its candles, with as many again on each side.
    showTrade: (cell) => {
      const layout = (id) => (window.candlewick.layoutOf(id) || { props: {} }).props;
      const trade = cell && (layout("run-trades").rowData || []).find((row) => row.id === cell.rowId);
      const bars = ((layout("run-prices").series || [])[0] || { data: [] }).data;
      const box = document.querySelector(".run-canvas");
      if (!trade || !bars.length || (trade.symbol && box && box.dataset.symbol !== trade.symbol)) return NONE();
      const place = (text) => {
        const at = Date.parse(text.replace(" ", "T") + "Z") / 1000;
        const after = bars.findIndex((bar) => bar.time > at);
        return after < 0 ? bars.length - 1 : Math.max(0, after - 1);
      };
      const [from, to] = [place(trade.entry), place(trade.exit)];
      const around = Math.max(30, to - from);
      if (box) box.scrollIntoView({ block: "nearest" });
      return { from: from - around, to: to + around };
    },

    goto: (search) => search || NONE(),

    compare: (checked, ids) => {
      const picked = (ids || []).filter((_, row) => checked[row]).map((id) => id.run);
      return picked.length === 2
        ? ["/backtests?compare=" + picked.sort((one, other) => one - other).join(","), "button primary"]
        : ["/backtests", "button disabled"];
    },
  };
})();
