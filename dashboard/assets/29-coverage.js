// The strip under the time axis: green where every trade of the minutes is stored, other colours where not.
(function () {
  "use strict";
  const live = window.candlewick;
  const { make, chart, market } = live;
  const WORDS = { repaired: "repaired", venue_down: "the venue did not trade", missing: "missing", none: "not recorded" };
  const LEAST_PX = 2; // what is shorter is still seen
  const AGAIN_MS = 60000;

  const strip = live.island("coverage", "coverage-strip");
  strip.setAttribute("role", "img");
  let known = null; // the server's last answer
  let number = 0;

  function read() {
    const { view, rows } = chart;
    if (!view || !rows.price.length) return draw();
    const asked = (number += 1);
    const first = rows.price[0].time;
    const last = rows.price[rows.price.length - 1].time + view.seconds;
    return live.read(`/desk/coverage?${live.marketQuery({ first, last })}`).then(
      (body) => {
        if (asked !== number || !chart.view || body.key !== chart.view.key) return;
        known = body;
        draw();
      },
      () => null // what was known stays
    );
  }

  function draw() {
    strip.replaceChildren();
    const { view, rows, range } = chart;
    const seen = range && range.visibleLogicalRange;
    strip.hidden = !view || !known || known.key !== view.key || !known.known;
    if (strip.hidden || !seen || !range.timeScaleWidth) return;
    const per = range.timeScaleWidth / (seen.to - seen.from);
    const x = (index) => Math.max(0, Math.min(range.timeScaleWidth, (index - 0.5 - seen.from) * per));
    const put = (className, from, to, title) => {
      const part = make("i", className);
      part.style.left = `${from}px`;
      part.style.width = `${Math.max(className === "complete" ? 0 : LEAST_PX, to - from)}px`;
      part.title = title;
      strip.append(part);
    };
    put("complete", x(0), x(rows.price.length), "complete");
    const said = [];
    for (const [start, end, state, reason] of known.spans) {
      const first = chart.lowerBound(rows.price, start - view.seconds + 1);
      const last = chart.lowerBound(rows.price, end);
      if (x(last) <= 0 || x(first) >= range.timeScaleWidth) continue;
      const format = window.dashTvlwcFunctions.moment;
      const words = `${format(start)} to ${format(end)}: ${WORDS[state] || state}${reason ? `, ${reason}` : ""}`;
      said.push(words);
      put(state, x(first), x(last), words);
    }
    strip.setAttribute(
      "aria-label",
      said.length ? `Not complete in view: ${said.slice(0, 5).join("; ")}` : "Every minute in view is complete"
    );
  }

  chart.onRange.push(draw);
  market.onShown.push(read);
  market.onMarks.push(read); // also after history was read
  setInterval(() => !document.hidden && read(), AGAIN_MS);
})();
