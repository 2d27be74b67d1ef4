// How numbers and times are written in the browser: by the preferences that the server finds in our cookie and writes by
// as well (dashboard/number_formats.py). The price chart takes these functions by name.
(function () {
  "use strict";
  const live = window.candlewick;
  const formats = (window.dashTvlwcFunctions = window.dashTvlwcFunctions || {});
  const COOKIE = "candlewick-writing";
  const YEAR_S = 31536000;
  const DAY_S = 86400;
  const QUARTER_MS = 900000; // no zone changes its offset within a quarter of an hour
  const MOST_OFFSETS = 2000;
  const NUMBERS = {
    "comma-point": [",", "."],
    "point-comma": [".", ","],
    "space-point": ["\u00a0", "."],
    "space-comma": ["\u00a0", ","],
    "quote-point": ["’", "."],
    "none-point": ["", "."],
  };

  // ---- the preferences

  const cookie = () => {
    const found = document.cookie.split("; ").find((one) => one.startsWith(`${COOKIE}=`));
    return found ? decodeURIComponent(found.slice(COOKIE.length + 1)) : "";
  };
  const DEFAULT = "UTC|comma-point|canvas";
  let group;
  let point;
  let parts; // of a moment in the zone; null for UTC
  let offsets;

  function take(text) {
    const [zone, numbers] = text.split("|");
    [group, point] = NUMBERS[numbers] || NUMBERS["comma-point"];
    offsets = new Map();
    live.zone = "UTC";
    parts = null;
    if (!zone || zone === "UTC") return;
    try {
      parts = new Intl.DateTimeFormat("en-GB", {
        timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit",
        minute: "2-digit", second: "2-digit",
      });
      live.zone = zone.split("/").pop().replaceAll("_", " ");
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // a zone this browser does not know: UTC
    }
  }
  take(cookie() || DEFAULT);

  live.onWriting = []; // called when texts are to be written anew

  // Write as `display` (what the desk keeps) says from now on. Resolves to whether that is new.
  live.writeAs = (display) => {
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    const wanted = `${display.zone === "local" ? own : display.zone || "UTC"}|${display.numbers || "comma-point"}|${display.chart || "canvas"}`;
    if (wanted === (cookie() || DEFAULT)) return false;
    document.cookie = `${COOKIE}=${encodeURIComponent(wanted)}; path=/; max-age=${YEAR_S}; SameSite=Strict`;
    if (cookie() !== wanted) return false; // cookies are forbidden here
    take(wanted);
    live.onWriting.forEach((tell) => tell());
    return true;
  };

  // ---- numbers

  const written = (text) => (group === "," && point === "." ? text : text.replace(/[.,]/g, (sign) => (sign === "," ? group : point)));
  // What the server wrote for all tabs alike, `65,000.00`, with the separators of this one.
  live.written = (text) => (text ? text.replace(/(?<=\d)[.,](?=\d)/g, (sign) => (sign === "," ? group : point)) : text);

  function grouped(value, decimals) {
    const [whole, rest] = Math.abs(value).toFixed(decimals).split(".");
    const text = whole.replace(/\B(?=(\d{3})+$)/g, group) + (rest ? point + rest : "");
    return value < 0 && /[1-9]/.test(text) ? "−" + text : text;
  }
  formats.grouped = grouped;
  formats.separators = () => point + group; // as Plotly takes them

  for (let decimals = 0; decimals <= 10; decimals += 1) {
    formats["price" + decimals] = (value) => grouped(value, decimals);
  }

  formats.compact = (value) => {
    const size = Math.abs(value);
    for (const [limit, suffix] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "K"]]) {
      if (size >= limit * 0.9995) return written((value / limit).toPrecision(3)) + suffix;
    }
    if (size < 1e-9) return "0"; // the axis computes its ticks and misses zero by a hair
    return size >= 100 ? value.toFixed(0) : written(String(Number(value.toPrecision(3))));
  };

  // ---- times

  // Milliseconds that the zone is ahead of UTC at that moment.
  function offsetOf(ms) {
    if (!parts) return 0;
    const quarter = Math.floor(ms / QUARTER_MS);
    const known = offsets.get(quarter);
    if (known !== undefined) return known;
    const at = {};
    for (const { type, value } of parts.formatToParts(quarter * QUARTER_MS)) at[type] = Number(value);
    const offset = Date.UTC(at.year, at.month - 1, at.day, at.hour, at.minute, at.second) - quarter * QUARTER_MS;
    if (offsets.size >= MOST_OFFSETS) offsets.clear();
    offsets.set(quarter, offset);
    return offset;
  }

  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
  const two = (value) => String(value).padStart(2, "0");
  const local = (ms) => new Date(ms + offsetOf(ms)); // its UTC fields are those of the zone
  const hours = (at) => `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  // Candles of a day and more begin with a day in UTC, whatever the zone.
  const ofDays = () => Boolean(live.view && live.view.seconds >= DAY_S);

  formats.clock = (ms) => local(ms).toISOString().slice(11, 19);
  formats.shortClock = (ms) => hours(local(ms));
  formats.minute = (ms) => local(ms).toISOString().slice(0, 16); // as a field of date and time has it
  formats.momentOf = (text) => {
    const asUtc = Date.parse(`${text}Z`);
    const near = asUtc - offsetOf(asUtc);
    return asUtc - offsetOf(near); // across a change of the clocks the first guess may be an hour off
  };

  formats.moment = (seconds) => {
    const days = ofDays();
    const at = days ? new Date(seconds * 1000) : local(seconds * 1000);
    const day = `${two(at.getUTCDate())} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()}`;
    if (days) return `${day} UTC`;
    const rest = at.getUTCSeconds() ? ":" + two(at.getUTCSeconds()) : "";
    return `${day} ${hours(at)}${rest} ${live.zone}`;
  };

  // The marks of the time axis stand where days begin in UTC: where the zone's own day begins elsewhere, they say the hour.
  formats.axis = (seconds, kind) => {
    const [YEAR, MONTH, DAY] = [0, 1, 2];
    const at = ofDays() ? new Date(seconds * 1000) : local(seconds * 1000);
    const midnight = at.getUTCHours() === 0 && at.getUTCMinutes() === 0 && at.getUTCSeconds() === 0;
    const day = `${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
    if (kind <= DAY && (midnight || !parts || ofDays())) {
      if (kind === YEAR) return String(at.getUTCFullYear());
      return kind === MONTH ? MONTHS[at.getUTCMonth()] : String(at.getUTCDate());
    }
    if (kind <= DAY) return `${day} ${hours(at)}`;
    if (midnight && parts) return day;
    return at.getUTCSeconds() ? `${hours(at)}:${two(at.getUTCSeconds())}` : hours(at);
  };
})();
