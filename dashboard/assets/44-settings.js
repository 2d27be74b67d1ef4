// How the pages look is kept by the installation; a browser takes it over when it changed since it last looked.
(function () {
  "use strict";
  const root = document.documentElement;
  const SEEN = "candlewick-display";

  function remember(name, value) {
    try {
      window.localStorage.setItem(name, value);
    } catch (error) {
      // Storage can be forbidden; then it holds for this page alone.
      return;
    }
  }

  function stored(name) {
    try {
      return window.localStorage.getItem(name);
    } catch (error) {
      return null;
    }
  }

  function paint(palette) {
    if (palette === "cvd") root.dataset.palette = "cvd";
    else delete root.dataset.palette;
  }

  paint(stored("candlewick-palette"));

  const light = () => matchMedia("(prefers-color-scheme: light)").matches;

  function apply(display) {
    const scheme = display.theme === "system" ? (light() ? "light" : "dark") : display.theme;
    remember("mantine-color-scheme-value", scheme);
    remember("candlewick-palette", display.palette);
    remember(SEEN, JSON.stringify([display.theme, display.palette]));
    paint(display.palette);
    root.setAttribute("data-mantine-color-scheme", scheme);
    // Mantine hears of it as if another tab had told it, or its switch would be a click behind.
    if (stored("mantine-color-scheme-value") !== scheme) return;
    const told = { key: "mantine-color-scheme-value", newValue: scheme, storageArea: window.localStorage };
    window.dispatchEvent(new StorageEvent("storage", told));
  }

  // A look that is saved in one tab is the look of the others at once; the scheme Mantine follows by itself.
  window.addEventListener("storage", (event) => {
    if (event.key === "candlewick-palette") paint(event.newValue);
  });

  fetch("/display.json")
    .then((answer) => (answer.ok ? answer.json() : null))
    .then((display) => {
      if (!display) return;
      const live = window.candlewick;
      if (!live.writeAs(display)) return;
      // The Market page asked for its chart before it could know; others ask when they are drawn, and know by then.
      if (live.ready || root.dataset.first === "market") live.pageReady.then(live.rewrite);
      const before = stored(SEEN);
      const now = JSON.stringify([display.theme, display.palette]);
      // What one browser chose by itself stays until somebody saves another look.
      if (before === null && now === '["dark","default"]') remember(SEEN, now);
      else if (before !== now) apply(display);
    })
    .catch(() => null); // the server is away; the page says so itself

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.settings = {
    apply: (display) => {
      if (display) {
        apply(display);
        window.candlewick.writeAs(display);
      }
      return window.dash_clientside.no_update;
    },
  };
})();
