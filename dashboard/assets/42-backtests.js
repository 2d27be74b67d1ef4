// How the table of trades writes its numbers, and where the Backtests page keeps what it compares.
(function () {
  "use strict";
  const forms = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
  const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

  function grouped(value, least, most) {
    return value
      .toLocaleString("en-US", { minimumFractionDigits: least, maximumFractionDigits: most })
      .replace("-", "−");
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

    goto: (search) => search || NONE(),

    compare: (checked, ids) => {
      const picked = (ids || []).filter((_, row) => checked[row]).map((id) => id.run);
      return picked.length === 2
        ? ["/backtests?compare=" + picked.sort((one, other) => one - other).join(","), "button primary"]
        : ["/backtests", "button disabled"];
    },
  };
})();
