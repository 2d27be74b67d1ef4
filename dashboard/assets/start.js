// Starts Dash: at once on most pages, on the Market page when its chart has been painted. Scripts of components that
// only other pages use come last; whoever goes to such a page first waits for them.
(function () {
  "use strict";
  const live = window.candlewick;
  const { components, later } = document.currentScript.dataset;
  const LONGEST_WAIT_MS = 1500; // for the chart
  const LATER_MS = 1500; // after the page stands

  const load = (source) =>
    new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = source;
      script.async = false; // in this order
      script.onload = done;
      script.onerror = () => failed(new Error(`${source} did not load`));
      document.body.append(script);
    });
  const all = (sources) => Promise.all(sources.map(load));

  let loading = null;
  live.others = () => (loading = loading || all(JSON.parse(later)));

  const onMarket = document.documentElement.dataset.first === "market";
  const painted = onMarket
    ? Promise.race([live.painted, new Promise((done) => setTimeout(done, LONGEST_WAIT_MS))])
    : Promise.resolve();
  painted
    .then(() => all([...JSON.parse(components), ...(onMarket ? [] : JSON.parse(later))]))
    .then(() => {
      if (!onMarket) loading = Promise.resolve();
      window.renderer = new window.DashRenderer();
      live.pageReady.then(() => setTimeout(live.others, LATER_MS));
    });
})();
