// Lists of markets that were given a name: chosen above the watchlist, edited in a dialog, kept by the desk.
(function () {
  "use strict";
  const live = window.candlewick;
  const { make, market, icon, button, views } = live;

  const tools = live.island("watch-tools", "watch-tools");
  const pick = make("select");
  pick.setAttribute("aria-label", "Watchlist");
  const edit = button("icon-button end", "Edit watchlists", icon("edit"));
  tools.append(pick, edit);

  const chosen = () => new URLSearchParams(location.search).get("list") || "";
  const listOf = (name) => views.watchlists.find((list) => list.name === name);
  const show = (name) => live.go(live.address({ list: name }));
  pick.onchange = () => show(pick.value);

  function drawPick() {
    const name = chosen();
    const known = views.watchlists.map((list) => list.name);
    pick.replaceChildren(new Option("All markets", ""), ...known.map((one) => new Option(one, one)));
    // A list of an address that is gone, or not read yet, is named all the same.
    if (name && !known.includes(name)) pick.append(new Option(name, name));
    pick.value = name;
  }

  // ---- which rows

  const missing = (name) => {
    const [venue, symbol] = name.split(/:(.*)/s);
    const [base, quote] = symbol.split(/-(.*)/s);
    return { market: name, venue, symbol, base, quote, where: "not recorded", spark: null, last: "–", change: "–", way: "flat" };
  };
  const rowsOf = (list) => {
    const known = new Map(market.watch.map((row) => [row.market, row]));
    return list.markets.map((name) => known.get(name) || missing(name));
  };
  market.wanted = () => {
    const list = listOf(chosen());
    return list ? rowsOf(list) : chosen() ? [] : market.watch;
  };
  market.whyEmpty = () => {
    const name = chosen();
    if (!name || !market.watch.length) return null;
    if (!views.read) return { words: "Reading the list …" };
    const known = listOf(name);
    if (!known) return { words: `There is no list “${name}”.`, act: ["Show all markets", () => show("")] };
    return { words: `“${name}” holds no market yet.`, act: ["Add markets", () => openEditor(name)] };
  };

  // ---- the dialog

  const lists = make("div", "lists-tabs");
  const names = make("span", "lists-names");
  const body = make("div", "lists-body");
  const problem = make("p", "down");
  problem.setAttribute("role", "alert");
  const dialog = live.dialog("Watchlists", lists, problem, body);
  dialog.id = "watchlists-dialog";
  let editing = ""; // the list in the dialog
  let words = ""; // what is searched for

  const tell = (why) => (problem.textContent = why);
  const change = (wanted) => views.change(wanted).then(tell);
  const keep = (name, markets) => change({ do: "save", replace: true, view: { kind: "watchlist", name, markets } });

  function newList() {
    const field = make("input");
    Object.assign(field, { required: true, maxLength: 50, pattern: "\\S(.*\\S)?", placeholder: "New list" });
    field.setAttribute("aria-label", "Name of the new list");
    const create = button("button", "", icon("plus"), "Create");
    create.type = "submit";
    const form = make("form", "view-form");
    form.append(field, create);
    form.onsubmit = async (event) => {
      event.preventDefault();
      const name = field.value.trim();
      if (listOf(name)) return tell(`There is a list “${name}” already.`);
      editing = name;
      await change({ do: "save", view: { kind: "watchlist", name, markets: [] } });
      if (problem.textContent) return;
      form.reset();
      show(name);
    };
    return form;
  }
  lists.append(names, newList());

  function listRow(list, name, index) {
    const row = make("div", "lists-row");
    const shown = market.watch.find((one) => one.market === name) || missing(name);
    const title = make("span", "name");
    title.append(make("b", "", shown.base), make("span", "muted", `-${shown.quote}`), make("small", "", shown.where));
    const move = (by) => {
      const markets = list.markets.filter((one) => one !== name);
      markets.splice(index + by, 0, name);
      return keep(list.name, markets).then(() => {
        const again = dialog.querySelector(`[data-move="${name}:${by}"]`);
        if (again && !again.disabled) again.focus();
      });
    };
    const mover = (by, label) => {
      const element = button("icon-button", `Move ${shown.symbol} ${label}`, icon("chevron-down", by < 0 ? "upside" : ""));
      element.dataset.move = `${name}:${by}`;
      element.disabled = by < 0 ? index === 0 : index === list.markets.length - 1;
      element.onclick = () => move(by);
      return element;
    };
    const remove = button("icon-button", `Remove ${shown.symbol}`, icon("x"));
    remove.onclick = () => keep(list.name, list.markets.filter((one) => one !== name));
    row.append(
      title,
      make("span", "num", shown.last),
      make("span", `num ${shown.way}`, shown.change),
      mover(-1, "up"),
      mover(1, "down"),
      remove
    );
    return row;
  }

  function found(list) {
    const parts = words.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (row) => parts.every((part) => `${row.symbol} ${row.where} ${row.venue}`.toLowerCase().includes(part));
    const rows = market.watch.filter((row) => !list.markets.includes(row.market) && fits(row));
    return rows.slice(0, 60).map((row) => {
      const element = button("found-row", `Add ${row.symbol} of ${row.where}`, make("b", "", row.symbol), make("span", "", row.where));
      element.onclick = () => keep(list.name, [...list.markets, row.market]);
      return element;
    });
  }

  async function remove(list) {
    const count = list.markets.length;
    const why = `It names ${count} ${count === 1 ? "market" : "markets"}. The markets and their data stay; the list cannot be brought back.`;
    if (!(await live.confirm(`Delete the list “${list.name}”?`, why, "Delete list", "Keep it"))) return;
    await change({ do: "delete", kind: "watchlist", name: list.name });
    if (!problem.textContent && chosen() === list.name) show("");
  }

  function rename(list, head) {
    const [form, field] = live.renamer(list.name, async (to) => {
      const shown = chosen() === list.name;
      await change({ do: "rename", kind: "watchlist", name: list.name, to });
      if (problem.textContent) return;
      editing = to;
      if (shown) show(to);
      drawEditor();
    });
    head.replaceChildren(form);
    field.select();
  }

  function drawEditor() {
    const tabs = views.watchlists.map((list) => {
      const tab = button("tool", "", list.name);
      tab.setAttribute("aria-pressed", String(list.name === editing));
      tab.onclick = () => {
        editing = list.name;
        words = "";
        drawEditor();
      };
      return tab;
    });
    names.replaceChildren(...tabs);
    const list = listOf(editing);
    if (!list) {
      const why = views.watchlists.length ? "Choose a list to edit, or name a new one." : "No list is saved yet. Name one to begin.";
      body.replaceChildren(make("p", "muted", views.kept ? why : "Lists cannot be saved here."), ...views.unreadRows("watchlist", change));
      return;
    }
    const head = make("div", "lists-head");
    const renaming = button("button", "", icon("edit"), "Rename");
    renaming.onclick = () => rename(list, head);
    const trash = button("button", "", icon("trash"), "Delete");
    trash.onclick = () => remove(list);
    head.append(make("b", "", list.name), make("span", "count", String(list.markets.length)), renaming, trash);
    const rows = make("div", "lists-rows");
    rows.append(...list.markets.map((name, index) => listRow(list, name, index)));
    if (!list.markets.length) rows.append(make("p", "muted", "No market yet. Add some from below."));
    const filter = make("input", "dialog-filter");
    Object.assign(filter, { type: "search", placeholder: "Search markets to add", value: words });
    filter.setAttribute("aria-label", "Search markets to add");
    const hits = make("div", "found");
    const search = () => {
      words = filter.value;
      const shown = found(list);
      hits.replaceChildren(...(shown.length ? shown : [make("p", "muted", "No other market by that name.")]));
    };
    filter.oninput = search;
    filter.onkeydown = (event) => {
      const first = hits.querySelector("button");
      if (event.key === "Enter" && first) first.click();
    };
    search();
    const typing = document.activeElement && document.activeElement.classList.contains("dialog-filter");
    body.replaceChildren(head, rows, filter, hits, ...views.unreadRows("watchlist", change));
    if (typing) filter.focus();
  }

  function openEditor(name) {
    editing = listOf(name) ? name : (views.watchlists[0] || { name: "" }).name;
    words = "";
    tell("");
    drawEditor();
    dialog.showModal();
    views.reread().catch((error) => tell(error.message));
  }
  edit.onclick = () => openEditor(chosen());

  const redraw = () => {
    drawPick();
    market.drawWatch();
    if (dialog.open) drawEditor();
  };
  views.onRead.push(redraw);
  market.onWatch.push(() => dialog.open && drawEditor());
  let shown = chosen();
  market.onFollow.push(() => {
    if (chosen() === shown) return;
    shown = chosen();
    redraw();
  });
  drawPick();
})();
