// Cells of the table of bots. Texts come formatted from the server; React escapes them.
(function () {
  "use strict";
  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  const make = (...parts) => window.React.createElement(...parts);

  cells.TwoLines = (props) => {
    const [first, second, way] = props.data[props.lines];
    return make(
      "span",
      { className: `cell-two ${props.right ? "right" : ""}` },
      make("b", { className: `num ${way || ""}` }, first),
      second ? make("small", { className: "num" }, second) : null
    );
  };

  cells.BotLink = (props) => {
    const [name, second] = props.data.bot;
    const search = "?" + new URLSearchParams({ bot: name }).toString();
    return make(
      "a",
      {
        className: "cell-two",
        href: "/bots" + search,
        onClick: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
          event.preventDefault();
          window.dash_clientside.set_props("bots-goto", { data: { bot: name } });
        },
      },
      make("b", null, name),
      second ? make("small", null, second) : null
    );
  };

  cells.State = (props) =>
    make(
      "span",
      { className: `tag tag-${props.data.state_kind}` },
      make("span", { className: `i i-${props.data.state_icon}`, "aria-hidden": "true" }),
      props.data.state_text
    );

  cells.Health = (props) =>
    props.data.health
      ? make("span", { className: "health-note", title: props.data.health }, props.data.health)
      : make("span", { className: "muted" }, "All well");

  cells.Spark = (props) =>
    props.data.spark
      ? make("img", { src: props.data.spark, width: 96, height: 26, alt: "" })
      : make("span", { className: "muted" }, "–");

  const WORDS = { start: ["Start", "player-play"], pause: ["Pause", "player-pause"], stop: ["Stop", "player-stop"] };
  cells.Actions = (props) =>
    make(
      "span",
      { className: "row-actions" },
      props.value.split(" ").filter(Boolean).map((action) =>
        make(
          "button",
          {
            key: action,
            type: "button",
            className: "icon-button",
            title: WORDS[action][0],
            "aria-label": `${WORDS[action][0]} ${props.data.id}`,
            onClick: (event) => {
              event.stopPropagation();
              // Not setData: the grid would take what it writes for an option of its own, and warn.
              window.dash_clientside.set_props("bots-ask", { data: { action, bot: props.data.id, at: Date.now() } });
            },
          },
          make("span", { className: `i i-${WORDS[action][1]}`, "aria-hidden": "true" })
        )
      )
    );
})();
