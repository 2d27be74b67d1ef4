// The Bots page: what is selected in the table or on the cards, and the ways between its views.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  const isOpen = () => location.pathname === "/bots";
  const grid = () => {
    const element = document.querySelector(".grid-panel");
    return Boolean(element) && getComputedStyle(element).display !== "none";
  };

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.bots = {
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
