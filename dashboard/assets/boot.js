// Runs before the first paint: the chosen colours are on the page before anything is drawn, and on the Market page
// the chart is asked for while the other scripts still load.
(function () {
  "use strict";
  const root = document.documentElement;
  const stored = (name) => {
    try {
      return window.localStorage.getItem(name);
    } catch (error) {
      // Storage can be forbidden; the defaults it is then.
      return null;
    }
  };
  const scheme = stored("mantine-color-scheme-value") === "light" ? "light" : "dark";
  root.setAttribute("data-mantine-color-scheme", scheme);
  if (stored("candlewick-palette") === "cvd") root.dataset.palette = "cvd";
  root.dataset.feed = "connecting";
  const market = location.pathname === "/" || location.pathname === "/market";
  root.dataset.first = market ? "market" : "other";

  const live = (window.candlewick = {});
  live.scheme = () => {
    const name = root.getAttribute("data-mantine-color-scheme");
    return root.dataset.palette === "cvd" ? `${name}-cvd` : name;
  };
  // What an address says of its chart; one that says nothing of it gets the layout that is the default.
  live.layoutWords = ["tf", "overlay", "layers", "scale", "palette", "panes"];
  // The address of the page's data for what is in the address of the page.
  live.marketQuery = (more = {}) => {
    const asked = new URLSearchParams(location.search);
    const query = new URLSearchParams();
    for (const name of ["venue", "symbol", "tf", "overlay", "scale", "panes"]) query.set(name, asked.get(name) || "");
    const plain = live.scheme().replace("-cvd", "");
    const palettes = { cvd: `${plain}-cvd`, default: plain };
    query.set("scheme", palettes[asked.get("palette")] || live.scheme());
    if (/candlewick-writing=[^;]*plotly/.test(document.cookie)) query.set("chart", "plotly");
    if (!live.layoutWords.some((name) => asked.get(name))) query.set("bare", "1");
    for (const [name, value] of Object.entries(more)) query.set(name, value);
    return query.toString();
  };
  live.read = (address) => fetch(address).then((answer) => answer.json());
  if (market) {
    const query = live.marketQuery();
    live.early = { query, chart: live.read(`/desk/chart?${query}`) };
    live.early.chart.catch(() => null); // the page asks again
  }
})();
