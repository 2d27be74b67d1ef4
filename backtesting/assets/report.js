// Draws the figures of the page. They name their colours as CSS variables, so that they follow the page's scheme.
"use strict";
(function () {
  const charts = [...document.querySelectorAll("[data-figure]")];
  const options = { displayModeBar: false, responsive: true };

  function figureOf(id) {
    const style = getComputedStyle(document.documentElement);
    const text = document.getElementById(id).textContent;
    return JSON.parse(text.replace(/var\((--[a-z0-9-]+)\)/g, (_, name) => style.getPropertyValue(name).trim()));
  }

  function draw(chart) {
    const figure = figureOf(chart.dataset.figure);
    if (chart.clientWidth < 560) {
      figure.layout.margin = Object.assign({}, figure.layout.margin, { l: 44, r: 8 });
      figure.layout.font.size = 10;
    }
    return Plotly.react(chart, figure.data, figure.layout, options);
  }

  const drawAll = () => charts.forEach(draw);
  for (const select of document.querySelectorAll("select[data-chart]")) {
    select.addEventListener("change", () => {
      const chart = document.getElementById(select.dataset.chart);
      chart.dataset.figure = select.value;
      draw(chart);
    });
  }
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", drawAll);
  matchMedia("print").addEventListener("change", drawAll);
  drawAll();
})();
