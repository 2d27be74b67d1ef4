// Keys that work on every page, and the list of them on "?".
(function () {
  "use strict";
  const live = window.candlewick;
  const { make } = live;
  const PREFIX_MS = 1200; // from `g` to the page's key

  // Mantine marks the first hit, but does not always take it when Enter is pressed.
  document.addEventListener(
    "keydown",
    (event) => {
      const field = event.target;
      if (event.key !== "Enter" || event.isComposing || field.id !== "search" || !field.value) return;
      const list = document.getElementById(field.getAttribute("aria-controls"));
      const hit =
        list && (list.querySelector("[data-combobox-selected]") || list.querySelector("[data-combobox-option]"));
      if (!hit) return;
      event.preventDefault();
      event.stopPropagation();
      hit.click();
    },
    true
  );

  function list() {
    const frames = Array.from(document.querySelectorAll("#timeframes a.tf:not(.rare)")).map((one) => one.textContent);
    const pages = Object.values(live.pages()).filter((page) => page.key);
    return [
      ["Everywhere", [
        ["Ctrl K", "Search a symbol or a bot"],
        ["/", "Filter the list of the page"],
        ["?", "This list"],
        ["Esc", "Close what is open"],
      ]],
      ["Pages", pages.map((page) => [`g ${page.key}`, page.title])],
      ["Market", frames.map((frame, index) => [String(index + 1), `Candles of ${frame}`]).slice(0, 9)],
    ].filter(([, rows]) => rows.length);
  }

  const body = make("div", "shortcuts");
  const dialog = live.dialog("Keyboard shortcuts", body);

  function showList() {
    body.replaceChildren(
      ...list().map(([title, rows]) => {
        const section = make("section");
        const pairs = make("dl");
        for (const [keys, words] of rows) {
          const term = make("dt");
          term.append(...keys.split(" ").map((key) => make("kbd", "", key)));
          pairs.append(term, make("dd", "", words));
        }
        section.append(make("h2", "", title), pairs);
        return section;
      })
    );
    dialog.showModal();
  }

  // The field by which the page's list is filtered, else the search in the header.
  function filter() {
    const seen = (field) => field.offsetParent !== null && !field.closest("dialog:not([open])");
    const own = document.querySelectorAll("#page input[type=search], #page [data-filter] input, #page input[data-filter]");
    return Array.from(own).find(seen) || document.getElementById("search");
  }

  let prefix = 0;
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "k") {
      event.preventDefault();
      const search = document.getElementById("search");
      if (search) search.focus();
      return;
    }
    if (key === "Escape" && target.closest && target.closest("input, textarea")) {
      target.blur();
      return;
    }
    const writing = target.closest && target.closest("input, textarea, select, [contenteditable=true], dialog");
    if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === "?") return showList();
    if (key === "/") {
      const field = filter();
      if (!field) return;
      event.preventDefault();
      field.focus();
      return;
    }
    if (key === "g") {
      prefix = Date.now();
      return;
    }
    const pages = live.pages();
    const page = Date.now() - prefix < PREFIX_MS && Object.keys(pages).find((path) => pages[path].key === key);
    prefix = 0;
    if (page) {
      const link = document.querySelector(`a.nav[href="${page}"]`);
      if (link) link.click();
      return;
    }
    const frames = document.querySelectorAll("#page #timeframes a.tf:not(.rare)");
    if (frames[Number(key) - 1]) frames[Number(key) - 1].click();
  });
})();
