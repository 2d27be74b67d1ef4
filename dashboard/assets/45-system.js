// The search of the logs stands in the address.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.system = {
    filter: (words) => {
      const params = new URLSearchParams(location.search);
      if (location.pathname !== "/system" || words === undefined || (params.get("q") || "") === (words || "")) {
        return NONE();
      }
      if (words) params.set("q", words);
      else params.delete("q");
      return "?" + params.toString();
    },
  };
})();
