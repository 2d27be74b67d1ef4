// What the Data page does in the browser without asking the server.
(function () {
  "use strict";
  const NONE = () => window.dash_clientside.no_update;
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.data = {
    filter: (words) => {
      const params = new URLSearchParams(location.search);
      if (location.pathname !== "/data" || words === undefined || (params.get("q") || "") === (words || "")) {
        return NONE();
      }
      if (words) params.set("q", words);
      else params.delete("q");
      params.delete("page"); // another search begins with its first markets
      return "?" + params.toString();
    },

    uploadName: (name) => name || "Drop a file here or choose one",
  };
})();
