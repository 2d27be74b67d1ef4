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

  if (stored("candlewick-palette") === "cvd") root.dataset.palette = "cvd";

  const light = () => matchMedia("(prefers-color-scheme: light)").matches;

  function apply(display) {
    const scheme = display.theme === "system" ? (light() ? "light" : "dark") : display.theme;
    remember("mantine-color-scheme-value", scheme);
    remember("candlewick-palette", display.palette);
    remember(SEEN, JSON.stringify([display.theme, display.palette]));
    if (display.palette === "cvd") root.dataset.palette = "cvd";
    else delete root.dataset.palette;
    root.setAttribute("data-mantine-color-scheme", scheme);
  }

  fetch("/display.json")
    .then((answer) => (answer.ok ? answer.json() : null))
    .then((display) => {
      if (!display) return;
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
      if (display) apply(display);
      return window.dash_clientside.no_update;
    },
  };
})();
