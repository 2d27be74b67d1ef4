// Number and time formats for the price chart, which takes functions by name.
(function () {
  "use strict";
  const formats = (window.dashTvlwcFunctions = window.dashTvlwcFunctions || {});

  function grouped(value, decimals) {
    return value
      .toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })
      .replace("-", "−");
  }

  for (let decimals = 0; decimals <= 10; decimals += 1) {
    formats["price" + decimals] = (value) => grouped(value, decimals);
  }

  formats.compact = (value) => {
    const size = Math.abs(value);
    for (const [limit, suffix] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
      if (size >= limit * 0.9995) return (value / limit).toPrecision(3) + suffix;
    }
    if (size < 1e-9) return "0"; // the axis computes its ticks and misses zero by a hair
    return size >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
  };

  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const two = (value) => String(value).padStart(2, "0");
  formats.clock = (ms) => new Date(ms).toISOString().slice(11, 19);
  formats.utc = (seconds) => {
    const at = new Date(seconds * 1000);
    const day = `${two(at.getUTCDate())} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
    const clock = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
    const rest = at.getUTCSeconds() ? ":" + two(at.getUTCSeconds()) : "";
    return `${day} ${clock}${rest} UTC`;
  };
})();
