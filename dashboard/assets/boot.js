// Runs before the first paint: the chosen colour scheme is on the page before anything is drawn.
(function () {
  "use strict";
  let scheme = null;
  try {
    scheme = window.localStorage.getItem("mantine-color-scheme-value");
  } catch (error) {
    // Storage can be forbidden; the dark scheme it is then.
    scheme = null;
  }
  document.documentElement.setAttribute("data-mantine-color-scheme", scheme === "light" ? "light" : "dark");
  document.documentElement.dataset.feed = "connecting";
})();
