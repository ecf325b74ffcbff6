// Read by JS9 when it starts: everything from here, nothing from other servers.
window.JS9Prefs = {
  globalOpts: {
    helperType: "none",
    requireHelper: false,
    installDir: "/static/vendor/js9/",
    allowFileWorker: false,
    dropTarget: "",
    mouseWheelZoom: true,
    updateTitlebar: false,
    lightWinClose: "none",
    loadProxy: false,
    infoBox: ["file", "object", "wcsfov", "wcscen", "wcspos", "impos", "value", "regions", "progress"],
  },
  imageOpts: { colormap: "grey", scale: "linear", scaleclipping: "zscale", inherit: false },
};
