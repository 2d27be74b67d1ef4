// What is drawn over the chart and who chose it: indicators with their parameters, strategies' lines, layers of
// markers and what a marker says, and the way to a date. All of it stands in the address.
(function () {
  "use strict";
  const live = window.candlewick;
  const { make, chart, market, icon } = live;
  const tools = live.island("drawings", "tools-island");
  tools.dataset.ours = "";

  const button = (className, label, ...content) => {
    const element = make("button", className);
    element.type = "button";
    if (label) element.setAttribute("aria-label", label);
    element.append(...content);
    return element;
  };

  // A dialog of the browser's own: it keeps the focus, and Esc closes it.
  live.dialog = (title, ...content) => {
    const dialog = make("dialog", "desk-dialog");
    const head = make("div", "panel-head");
    const close = button("icon-button end", "Close", icon("x"));
    close.onclick = () => dialog.close();
    head.append(make("b", "", title), close);
    const body = make("div", "dialog-body");
    body.append(...content);
    dialog.append(head, body);
    dialog.setAttribute("aria-label", title);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.body.append(dialog);
    return dialog;
  };

  // ---- indicators

  let choices = null; // every indicator and strategy, read once
  const filter = make("input", "dialog-filter");
  filter.type = "search";
  filter.placeholder = "Search indicators and strategies";
  filter.setAttribute("aria-label", "Search indicators and strategies");
  const drawn = make("div", "drawn");
  const found = make("div", "found");
  const indicators = live.dialog("Indicators", drawn, filter, found);
  indicators.id = "indicators-dialog";

  const items = () => (chart.view ? chart.view.items.filter((item) => item !== "none") : []);
  const draw = (list) => live.go(live.address({ overlay: list.join(",") || "none" }));

  function specOf(item) {
    const name = item.split("(")[0];
    return item.endsWith(")") && choices.indicators.find((one) => one.name === name);
  }

  function drawnRow(item) {
    const row = make("div", "drawn-row");
    const spec = specOf(item);
    const title = item === "ema" ? "EMA 12 and 26" : spec ? spec.title : item;
    row.append(make("b", "", title));
    if (spec) {
      const values = item.slice(item.indexOf("(") + 1, -1).split(",");
      const fields = spec.parameters.map((parameter, index) => field(spec, parameter, values[index]));
      const change = () => {
        if (fields.some((one) => !one.reportValidity())) return;
        const text = `${spec.name}(${fields.map((one) => one.value).join(",")})`;
        draw(items().map((one) => (one === item ? text : one)));
      };
      for (const [index, one] of fields.entries()) {
        one.onchange = change;
        const label = make("label", "", `${spec.parameters[index].name} `);
        label.append(one);
        row.append(label);
      }
    }
    const remove = button("icon-button end", `Remove ${title}`, icon("x"));
    remove.onclick = () => draw(items().filter((one) => one !== item));
    row.append(remove);
    return row;
  }

  function field(spec, parameter, value) {
    if (parameter.kind === "choice") {
      const select = make("select");
      for (const choice of parameter.choices) select.append(new Option(choice, choice, false, choice === value));
      return select;
    }
    const input = make("input", "num");
    Object.assign(input, { type: "number", value, required: true, title: parameter.expected });
    input.step = parameter.kind === "integer" ? 1 : "any";
    if (parameter.minimum !== null) input.min = parameter.minimum;
    if (parameter.maximum !== null) input.max = parameter.maximum;
    return input;
  }

  function showDrawn() {
    if (choices) drawn.replaceChildren(...items().map(drawnRow));
  }

  function showFound() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (...texts) => words.every((word) => texts.join(" ").toLowerCase().includes(word));
    const entry = (item, title, summary) => {
      const element = button("found-row", "", make("b", "", title), make("span", "", summary));
      element.onclick = () => draw([...items(), item]);
      return element;
    };
    const rows = [
      ...(fits("ema 12 and 26 averages") ? [entry("ema", "EMA 12 and 26", "The two averages every chart begins with")] : []),
      ...choices.indicators
        .filter((one) => fits(one.name, one.title, one.summary))
        .map((one) => entry(`${one.name}(${one.parameters.map((p) => p.default).join(",")})`, one.title, one.summary)),
      ...choices.strategies.filter((name) => fits(name, "strategy")).map((name) => entry(name, name, "Every line of the strategy")),
    ];
    found.replaceChildren(...(rows.length ? rows : [make("p", "muted", "Nothing by that name.")]));
  }

  const opener = button("tool", "Indicators", icon("chart-line"), make("span", "", "Indicators"));
  opener.onclick = async () => {
    choices = choices || (await live.read("/desk/choices"));
    filter.value = "";
    showDrawn();
    showFound();
    indicators.showModal();
    filter.focus();
  };
  filter.oninput = showFound;
  filter.onkeydown = (event) => {
    const first = found.querySelector("button");
    if (event.key === "Enter" && first) first.click();
  };

  // ---- layers

  const boxes = make("div", "found");
  const layers = live.dialog("Signals and fills", boxes);
  layers.id = "layers-dialog";
  const layersOpener = button("tool", "Layers", icon("bolt"), make("span", "", "Signals and fills"));

  function showLayers() {
    const known = market.layers || [];
    const rows = known.map((choice) => {
      const row = make("label", "found-row");
      const box = make("input");
      box.type = "checkbox";
      box.checked = choice.on;
      box.onchange = () => {
        choice.on = box.checked;
        const wanted = known.filter((one) => one.on).map((one) => one.value);
        live.go(live.address({ layers: wanted.join(",") || "none" }));
      };
      const [kind] = choice.value.split(":");
      const what = kind === "bot" ? "Fills and signals of this bot" : "What the strategy says on these candles";
      row.append(box, make("b", "", choice.label), make("span", "", what));
      return row;
    });
    boxes.replaceChildren(...(rows.length ? rows : [make("p", "muted", "No bot on this market and no strategy yet.")]));
  }
  layersOpener.onclick = () => {
    showLayers();
    layers.showModal();
  };
  market.onMarks.push(() => {
    const shown = (market.layers || []).some((one) => one.on);
    layersOpener.setAttribute("aria-pressed", String(shown));
    if (layers.open) showLayers();
  });

  // ---- what a marker says

  const note = make("div", "mark-note");
  note.hidden = true;
  note.setAttribute("role", "status");
  note.dataset.ours = "";
  live.islands.chart.append(note);

  chart.onClick = (click) => {
    const said = click && click.hoveredObjectId && (market.notes || {})[click.hoveredObjectId];
    note.hidden = !said;
    if (!said) return;
    const close = button("icon-button", "Close", icon("x"));
    close.onclick = () => (note.hidden = true);
    const lines = make("div");
    const put = (texts) => lines.replaceChildren(...texts.map((text) => make("p", "", text)));
    put(said.lines);
    const link = make("a", "", said.link || "");
    if (said.href) link.href = said.href;
    note.replaceChildren(make("b", "", said.title), close, make("small", "", said.at), lines, ...(said.href ? [link] : []));
    const { x, y } = click.point || { x: 0, y: 0 };
    const box = live.islands.chart.getBoundingClientRect();
    note.style.left = `${Math.max(8, Math.min(x + 14, box.width - 330))}px`;
    note.style.top = `${Math.max(8, Math.min(y + 10, box.height - 170))}px`;
    if (said.ask) {
      put(["Reading why …"]);
      live.read(`/desk/why?${live.marketQuery(said.ask)}`).then(
        (body) => put(body.error ? [body.error] : body.lines),
        () => put(["The server does not answer."])
      );
    }
  };

  // ---- the way to a date

  const when = make("input", "num");
  when.type = "datetime-local";
  const go = button("button primary", "", "Go");
  const answer = make("p", "muted");
  answer.setAttribute("role", "status");
  const form = make("form", "jump");
  const zone = make("span", "muted");
  form.append(when, zone, go, answer);
  go.type = "submit";
  const jumper = live.dialog("Go to a date", form);
  const jumpOpener = button("icon-button", "Go to a date", icon("calendar"));
  jumpOpener.title = "Go to a date";
  jumpOpener.onclick = () => {
    answer.textContent = "";
    zone.textContent = live.zone;
    when.setAttribute("aria-label", `Date and time, ${live.zone}`);
    if (!when.value && chart.view) when.value = window.dashTvlwcFunctions.minute(live.serverNow() - 864e5);
    jumper.showModal();
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    const time = window.dashTvlwcFunctions.momentOf(when.value.slice(0, 16)) / 1000;
    if (!Number.isFinite(time) || !chart.view) return;
    answer.textContent = "Reading history …";
    try {
      const reached = await chart.jump(time);
      const far = reached === null || Math.abs(reached - time) > chart.view.seconds * 2;
      answer.textContent = far && reached !== null
        ? `The nearest candle stored is of ${window.dashTvlwcFunctions.moment(reached)}.`
        : "";
      if (!answer.textContent) jumper.close();
    } catch (error) {
      answer.textContent = "History cannot be read now.";
    }
  };

  tools.append(make("span", "rule"), opener, layersOpener, jumpOpener);
  market.onShown.push(showDrawn);
})();
