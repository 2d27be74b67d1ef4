// Layouts of the chart that were given a name: kept by the desk, opened by writing them into the address.
(function () {
  "use strict";
  const live = window.candlewick;
  const { make, chart, market, icon } = live;
  const SCALES = { "": "Prices", log: "Logarithms of prices", percent: "Percent of the first candle in view" };
  const PALETTES = { "": "As the desk's", default: "Green and red", cvd: "Blue and amber" };

  const button = (className, label, ...content) => {
    const element = make("button", className);
    element.type = "button";
    if (label) {
      element.setAttribute("aria-label", label);
      element.title = label;
    }
    element.append(...content);
    return element;
  };
  live.button = button;

  // Ask before what cannot be undone. Resolves to whether it is to be done; the safe answer has the focus.
  live.confirm = (title, words, verb, safe) =>
    new Promise((answered) => {
      const keep = button("button", "", safe);
      const act = button("button danger", "", verb);
      const buttons = make("div", "confirm-buttons");
      buttons.append(keep, act);
      const dialog = live.dialog(title, make("p", "", words), buttons);
      let said = false;
      keep.onclick = () => dialog.close();
      act.onclick = () => {
        said = true;
        dialog.close();
      };
      dialog.onclose = () => {
        dialog.remove();
        answered(said);
      };
      dialog.showModal();
      keep.focus();
    });

  // ---- what is saved

  const views = (live.views = { read: false, kept: true, layouts: [], watchlists: [], unreadable: [], onRead: [] });

  let asking = 0; // requests so far
  let taken = 0; // the newest of them that was answered

  // An answer to what was asked before a change may come after the change's own: it counts no more.
  const take = (number) => (body) => {
    if (body.error) throw new Error(body.error);
    if (number < taken) return;
    taken = number;
    views.read = true;
    views.kept = body.kept;
    views.layouts = body.views.filter((view) => view.kind === "layout");
    views.watchlists = body.views.filter((view) => view.kind === "watchlist");
    views.unreadable = body.unreadable;
    views.onRead.forEach((tell) => tell());
  };
  views.reread = () => live.read("/desk/views").then(take((asking += 1)));

  // Ask the desk for a change. Resolves to nothing, or to what is wrong.
  views.change = (wanted) =>
    fetch("/desk/views", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(wanted),
    })
      .then((answer) => answer.json())
      .then(take((asking += 1)))
      .then(
        () => "",
        (error) => (error instanceof TypeError ? "The server does not answer." : error.message)
      );

  // What another version of Candlewick saved can only be deleted here, to free its name. `change` asks the desk.
  views.unreadRows = (kind, change) =>
    views.unreadable
      .filter((view) => view.kind === kind)
      .map(({ name }) => {
        const element = make("div", "view-row");
        const trash = button("icon-button", `Delete ${name}`, icon("trash"));
        trash.onclick = async () => {
          const words = "Another version of Candlewick may still read it. It cannot be brought back.";
          if (await live.confirm(`Delete “${name}”?`, words, "Delete it", "Keep it")) await change({ do: "delete", kind, name });
        };
        const why = "Saved by another version of Candlewick: it cannot be read here, and stays as it is.";
        const shown = make("div", "view-unread");
        shown.append(make("b", "", name), make("p", "muted", why));
        element.append(shown, trash);
        return element;
      });

  // ---- the chart as it is now

  const asked = (name) => new URLSearchParams(location.search).get(name) || "";
  function now() {
    const words = Object.fromEntries(live.layoutWords.map((name) => [name, asked(name)]));
    return { ...words, tf: chart.view.timeframe, overlay: chart.view.overlay };
  }
  const same = (layout, words) => live.layoutWords.every((name) => (layout[name] || "") === words[name]);
  const open = (layout) => live.go(live.address(Object.fromEntries(live.layoutWords.map((name) => [name, layout[name] || ""]))));

  function summary(layout) {
    const lines = (layout.overlay || "ema").split(/,(?![^(]*\))/).map((item) => (item === "ema" ? "EMA 12 and 26" : item));
    const parts = [layout.tf, layout.overlay === "none" ? "no indicator" : lines.join(", ")];
    if (layout.scale) parts.push(layout.scale);
    if (layout.palette) parts.push(PALETTES[layout.palette].toLowerCase());
    if (layout.layers) parts.push(layout.layers === "none" ? "no markers" : "chosen markers");
    return parts.filter(Boolean).join(" · ");
  }

  // ---- the dialog

  const choice = (label, choices, name) => {
    const select = make("select");
    for (const [value, words] of Object.entries(choices)) select.append(new Option(words, value));
    select.onchange = () => live.go(live.address({ [name]: select.value }));
    const element = make("label", "view-choice", label);
    element.append(select);
    return [element, select];
  };
  const [scale, scales] = choice("Price axis", SCALES, "scale");
  const [palette, palettes] = choice("Up and down", PALETTES, "palette");
  const choices = make("div", "view-choices");
  choices.append(scale, palette);

  const name = make("input");
  name.setAttribute("aria-label", "Name of the layout");
  name.placeholder = "Name, such as Scalping";
  Object.assign(name, { required: true, maxLength: 50, pattern: "\\S(.*\\S)?" });
  const save = button("button primary", "", "Save this chart");
  save.type = "submit";
  const form = make("form", "view-form");
  form.append(name, save);
  const problem = make("p", "down");
  problem.setAttribute("role", "alert");
  const list = make("div", "views");
  const dialog = live.dialog("Chart layouts", choices, form, problem, list);
  dialog.id = "layouts-dialog";

  const tell = (why) => (problem.textContent = why);
  const change = (wanted) => views.change(wanted).then(tell);

  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!chart.view) return;
    const wanted = name.value.trim();
    const taken = views.layouts.find((one) => one.name === wanted);
    if (taken) return saveOver(taken);
    await change({ do: "save", view: { kind: "layout", name: wanted, ...now() } });
    if (!problem.textContent) form.reset(); // an emptied field would count as one left wrong
  };

  async function saveOver(layout) {
    const title = `Save this chart over “${layout.name}”?`;
    const words = `It holds ${summary(layout)}. It will hold ${summary(now())}.`;
    if (!(await live.confirm(title, words, "Save over it", "Keep what it holds"))) return;
    await change({ do: "save", replace: true, view: { kind: "layout", name: layout.name, ...now() } });
  }

  async function remove(layout) {
    const words = `It holds ${summary(layout)}. The chart stays as it is; the layout cannot be brought back.`;
    if (!(await live.confirm(`Delete the layout “${layout.name}”?`, words, "Delete layout", "Keep it"))) return;
    await change({ do: "delete", kind: "layout", name: layout.name });
  }

  // A name that is changed where it stands. `done` gets the new one.
  live.renamer = (before, done) => {
    const field = make("input");
    Object.assign(field, { value: before, required: true, maxLength: 50, pattern: "\\S(.*\\S)?" });
    field.setAttribute("aria-label", `New name of ${before}`);
    const form = make("form", "view-form");
    const set = button("button", "", "Rename");
    set.type = "submit";
    form.append(field, set);
    form.onsubmit = (event) => {
      event.preventDefault();
      if (field.value.trim() !== before) done(field.value.trim());
      else views.onRead.forEach((tell) => tell());
    };
    return [form, field];
  };

  function row(layout) {
    const element = make("div", "view-row");
    const shown = chart.view && same(layout, now());
    const opener = button("view-open", "", make("b", "", layout.name), make("span", "", summary(layout)));
    if (shown) opener.setAttribute("aria-current", "true");
    opener.onclick = () => {
      open(layout);
      dialog.close();
    };
    const star = button("icon-button", `${layout.name} for every new chart`, icon("star"));
    star.setAttribute("aria-pressed", String(Boolean(layout.default)));
    star.onclick = () => change({ do: "default", name: layout.default ? null : layout.name });
    const over = button("icon-button", `Save this chart over ${layout.name}`, icon("device-floppy"));
    over.onclick = () => saveOver(layout);
    const rename = button("icon-button", `Rename ${layout.name}`, icon("edit"));
    rename.onclick = () => {
      const [form, field] = live.renamer(layout.name, (to) => change({ do: "rename", kind: "layout", name: layout.name, to }));
      element.replaceChildren(form);
      field.select();
    };
    const trash = button("icon-button", `Delete ${layout.name}`, icon("trash"));
    trash.onclick = () => remove(layout);
    if (shown) over.disabled = true;
    element.append(opener, star, over, rename, trash);
    return element;
  }

  const opener = button("tool", "Layouts", icon("template"), make("span", "", "Layouts"));

  function draw() {
    scales.value = asked("scale") in SCALES ? asked("scale") : "";
    palettes.value = asked("palette") in PALETTES ? asked("palette") : "";
    form.hidden = !views.kept;
    list.replaceChildren(
      ...(views.layouts.length
        ? views.layouts.map(row)
        : [make("p", "muted", "No layout is saved yet. One holds the time frame, the indicators with their parameters, the markers, the axis, the colours and the heights of the panes, for any symbol.")]),
      ...views.unreadRows("layout", change)
    );
    const current = chart.view && views.layouts.find((layout) => same(layout, now()));
    opener.lastElementChild.textContent = current ? current.name : "Layouts";
    opener.setAttribute("aria-pressed", String(Boolean(current)));
  }

  opener.onclick = () => {
    tell("");
    draw();
    dialog.showModal();
    views.reread().catch((error) => tell(error.message));
  };
  views.onRead.push(draw);
  market.onShown.push(draw);
  market.onFollow.push(draw);
  live.islands.drawings.append(opener);

  // ---- heights of the panes: dragged in the chart, kept in the address

  function shares() {
    const table = live.islands.chart.querySelector(".tv-lightweight-charts table");
    const rows = table ? Array.from(table.rows).filter((one) => one.cells.length > 1) : [];
    // The last row is the time axis; what parts two panes has one cell.
    const heights = rows.slice(0, -1).map((one) => one.getBoundingClientRect().height);
    const whole = heights.reduce((sum, one) => sum + one, 0);
    return heights.length > 1 && whole > 0 ? heights.map((one) => String(Math.round((1000 * one) / whole) / 100)) : [];
  }

  let before = "";
  live.islands.chart.addEventListener("pointerdown", () => (before = shares().join(",")), true);
  document.addEventListener("pointerup", () => {
    if (!before || !chart.view) return;
    const started = before;
    before = "";
    requestAnimationFrame(() => {
      const after = shares().join(",");
      if (!after || after === started || after.split(",").length !== started.split(",").length) return;
      history.replaceState(history.state, "", live.address({ panes: after }));
      market.adopted();
      draw();
    });
  });

  // Read once the chart stands, or when the page is gone to; what cannot be read now is asked for in the dialogs.
  let begun = false;
  const begin = () => {
    if (begun) return;
    begun = true;
    views.reread().catch(() => null);
  };
  if (document.documentElement.dataset.first === "market") live.painted.then(begin);
  market.onFollow.push(begin);
})();
