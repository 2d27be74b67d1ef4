// The Bots page: what is selected in the table or on the cards, and the ways between its views.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  const isOpen = () => location.pathname === "/bots";
  const grid = () => {
    const element = document.querySelector(".grid-panel");
    return Boolean(element) && getComputedStyle(element).display !== "none";
  };

  // Until somebody moves the bot's chart, it ends with the newest candle.
  const BARS_SHOWN = { wide: 110, narrow: 48 };
  const BARS_AFTER = 6;
  let moved = false;
  let nudge = 0;
  for (const kind of ["pointerdown", "wheel"]) {
    document.addEventListener(
      kind,
      (event) => {
        if (event.target.closest && event.target.closest("#bot-chart-box")) moved = true;
      },
      { capture: true, passive: true }
    );
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.bots = {
    follow: (series, _name) => {
      const told = window.dash_clientside.callback_context.triggered.map((one) => one.prop_id);
      if (told.includes("bot-shown.data")) moved = false;
      const bars = series && series.length ? series[0].data.length : 0;
      if (!bars || moved) return NONE();
      nudge = nudge ? 0 : 0.001; // an equal range would not be taken as another one
      const shown = window.innerWidth < 768 ? BARS_SHOWN.narrow : BARS_SHOWN.wide;
      return { from: bars - shown + nudge, to: bars + BARS_AFTER };
    },

    // {} leads to all bots, {bot: name} to one.
    goto: (to) => {
      if (!to || !isOpen()) return NONE();
      const search = new URLSearchParams(to).toString();
      return search ? "?" + search : "";
    },

    open: (cell) => {
      if (!cell || !cell.rowId || ["actions", "bot", "ag-Grid-SelectionColumn"].includes(cell.colId)) return NONE();
      return { bot: cell.rowId };
    },

    select: (rows, checked, ids) => {
      const names = grid()
        ? (rows || []).map((row) => row.id)
        : (ids || []).filter((_, at) => checked[at]).map((id) => id.bot);
      const words = names.length === 1 ? "1 bot selected" : `${names.length} bots selected`;
      return [names, { display: names.length ? "flex" : "none" }, words];
    },

    clearPicks: (_clicks, ids) => [[], (ids || []).map(() => false)],

    confirmStop: (typed, pending) => !pending || typed !== pending.word,

    tab: (tab) => {
      const params = new URLSearchParams(location.search);
      if (!tab || !isOpen() || !params.get("bot") || (params.get("tab") || "position") === tab) return NONE();
      if (tab === "position") params.delete("tab");
      else params.set("tab", tab);
      return "?" + params.toString();
    },
  };
})();
