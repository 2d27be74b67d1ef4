// The Strategies page in the browser: the editor, which is loaded when it is first seen, and the tabs.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  const WAIT_MS = 350; // after the last key before the text is checked
  const PANES = { form: "strategy-form", text: "strategy-text-pane", versions: "strategy-versions-pane",
    preview: "strategy-preview-pane" };
  let loading = null;
  let view = null;
  let language = null;
  let waiting = null;
  let marks = [];

  // The editor is larger than all our other scripts together, and most pages never need it.
  function load() {
    loading =
      loading ||
      new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = "/assets/codemirror.js";
        script.onload = done;
        script.onerror = failed;
        document.head.append(script);
      });
    return loading;
  }

  const DRAFTS = "candlewick-strategy-drafts";
  const readDrafts = () => JSON.parse(sessionStorage.getItem(DRAFTS) || "{}");
  const writeDrafts = (drafts) => sessionStorage.setItem(DRAFTS, JSON.stringify(drafts));

  function tell() {
    waiting = null;
    if (view) window.dash_clientside.set_props("strategy-text", { data: view.state.doc.toString() });
  }

  function colours(cm) {
    const t = cm.tags;
    return cm.HighlightStyle.define([
      { tag: t.propertyName, color: "var(--accent-tx)" },
      { tag: [t.string, t.special(t.string)], color: "var(--code-string)" },
      { tag: [t.number, t.bool, t.null], color: "var(--code-number)" },
      { tag: [t.keyword, t.definitionKeyword, t.controlKeyword], color: "var(--code-word)" },
      { tag: t.comment, color: "var(--tx3)" },
    ]);
  }

  function mount(box, text, kind) {
    const cm = window.CodeMirror;
    language = new cm.Compartment();
    const save = () => {
      const button = document.getElementById("strategy-save");
      if (waiting) {
        clearTimeout(waiting);
        tell();
      }
      if (button) setTimeout(() => button.click(), 50);
      return true;
    };
    view = new cm.EditorView({
      parent: box,
      state: cm.EditorState.create({
        doc: text,
        extensions: [
          cm.keymap.of([{ key: "Mod-s", run: save, preventDefault: true }]),
          cm.basicSetup,
          cm.lintGutter(),
          cm.indentUnit.of(kind === "python" ? "    " : "  "),
          language.of(kind === "python" ? cm.python() : cm.json()),
          cm.syntaxHighlighting(colours(cm)),
          cm.EditorView.contentAttributes.of({ "aria-label": "The strategy as text" }),
          cm.EditorView.updateListener.of((update) => {
            if (!update.docChanged || update.transactions.some((one) => one.isUserEvent("server"))) return;
            if (waiting) clearTimeout(waiting);
            waiting = setTimeout(tell, WAIT_MS);
          }),
        ],
      }),
    });
    view.kind = kind;
    box.editor = view; // for tests and for the curious
    show();
  }

  function put(text, kind) {
    const cm = window.CodeMirror;
    if (view.kind !== kind) {
      view.kind = kind;
      view.dispatch({ effects: language.reconfigure(kind === "python" ? cm.python() : cm.json()) });
    }
    // What is being typed is newer than what the server knows.
    if (waiting || view.state.doc.toString() === text) return;
    view.dispatch({
      changes: { from: 0, to: view.state.doc.length, insert: text },
      userEvent: "server",
    });
    show();
  }

  function show() {
    if (!view || !window.CodeMirror) return;
    const found = marks
      .filter((one) => one.line <= view.state.doc.lines)
      .map((one) => {
        const line = view.state.doc.line(one.line);
        const lead = line.text.length - line.text.trimStart().length;
        return { from: Math.min(line.from + lead, line.to), to: line.to, severity: "error", message: one.words };
      });
    view.dispatch(window.CodeMirror.setDiagnostics(view.state, found));
  }

  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.strategies = {
    edit: (text, opened, tab) => {
      for (const [name, id] of Object.entries(PANES)) {
        const pane = document.getElementById(id);
        if (pane) pane.style.display = name === tab ? "" : "none";
      }
      const box = document.getElementById("strategy-editor");
      if (tab !== "text" || !box || text === undefined || text === null || !opened) return NONE();
      load().then(() => {
        if (!view || !box.contains(view.dom)) {
          box.replaceChildren();
          mount(box, text, opened.kind);
        } else put(text, opened.kind);
      });
      return NONE();
    },

    // What was typed and not saved outlives the page: it is there again when the strategy is opened next.
    keep: (text, opened) => {
      if (text === undefined || text === null || !opened) return NONE();
      const drafts = readDrafts();
      const told = window.dash_clientside.callback_context.triggered.map((one) => one.prop_id);
      if (!told.includes("strategy-opened.data")) {
        if (text === opened.content) delete drafts[opened.key];
        else drafts[opened.key] = text;
        writeDrafts(drafts);
        return NONE();
      }
      for (const key of Object.keys(drafts)) if (drafts[key] === opened.content) delete drafts[key];
      writeDrafts(drafts);
      const draft = drafts[opened.key];
      if (draft !== undefined && draft !== text) {
        setTimeout(() => window.dash_clientside.set_props("strategy-text", { data: draft }), 0);
      }
      return NONE();
    },

    scheme: () => window.candlewick.scheme(),

    mark: (found) => {
      marks = found || [];
      show();
      return NONE();
    },

    tab: (tab) => {
      const params = new URLSearchParams(location.search);
      if (location.pathname !== "/strategies" || (params.get("tab") || "form") === tab) return NONE();
      params.set("tab", tab);
      return "?" + params.toString();
    },
  };

  // Discarding cannot be undone in the form: the button asks once more, by its words.
  document.addEventListener("click", (event) => {
    const discard = event.target.closest && event.target.closest("#strategy-discard");
    if (!discard) return;
    if (!discard.dataset.sure) {
      discard.dataset.sure = "yes";
      discard.classList.add("danger");
      discard.textContent = "Discard for good?";
      return;
    }
    const opened = window.candlewick.layoutOf("strategy-opened");
    if (opened && opened.props.data) {
      window.dash_clientside.set_props("strategy-text", { data: opened.props.data.content });
    }
  });

  // A problem in the list leads to its line.
  document.addEventListener("click", (event) => {
    const problem = event.target.closest && event.target.closest("button.problem");
    if (!problem) return;
    const go = () => {
      if (!view || !view.dom.isConnected) return;
      const line = view.state.doc.line(Math.min(Number(problem.dataset.line), view.state.doc.lines));
      view.dispatch({ selection: { anchor: line.from }, scrollIntoView: true });
      view.focus();
    };
    window.dash_clientside.set_props("strategy-tab", { value: "text" });
    setTimeout(go, view ? 60 : 500);
  });
})();
