// What all pages share: colours, messages, the live stream, menus, small comforts.
// Without scripts every page works by links and forms.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Colours: system, then the opposite of the system, then back.
  const themes = ["auto", "light", "dark"];
  const names = { auto: "as the system", light: "light", dark: "dark" };
  const themeButton = document.querySelector("[data-theme-toggle]");
  const showTheme = () => {
    const now = root.dataset.theme || "auto";
    if (!themeButton) return;
    themeButton.dataset.now = now;
    themeButton.setAttribute("aria-label", `Colours: ${names[now]}. Change`);
    themeButton.title = `Colours: ${names[now]}`;
  };
  if (themeButton) {
    themeButton.hidden = false;
    themeButton.addEventListener("click", () => {
      const now = root.dataset.theme || "auto";
      const next = themes[(themes.indexOf(now) + 1) % themes.length];
      if (next === "auto") delete root.dataset.theme; else root.dataset.theme = next;
      try { localStorage.setItem("firstlight.theme", next); } catch { /* kept for this page only */ }
      showTheme();
      document.dispatchEvent(new CustomEvent("firstlight:theme"));
    });
    showTheme();
  }

  // Whether what is drawn by scripts stands on a dark ground now.
  const isDark = () => {
    const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g).map(Number);
    return r + g + b < 384;
  };

  // Messages in the corner. `kind` is "success", "error" or "info".
  const toast = (text, { kind = "info", url = null, seconds = 8 } = {}) => {
    const place = document.getElementById("toasts");
    const box = document.createElement("div");
    box.className = `toast ${kind}`;
    box.setAttribute("role", kind === "error" ? "alert" : "status");
    const words = document.createElement(url ? "a" : "span");
    words.textContent = text;
    if (url) words.href = url;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "ghost";
    close.setAttribute("aria-label", "Close this message");
    close.textContent = "×";
    close.addEventListener("click", () => box.remove());
    box.append(words, close);
    place.append(box);
    if (kind !== "error") setTimeout(() => box.remove(), seconds * 1000);
  };

  // One stream of events a page; a page that is not looked at lets go of it.
  const light = document.querySelector(".live");
  let source = null;
  let last = document.body.dataset.after ?? null; // events from before the page was made are in it
  const showLight = (on) => {
    if (!light) return;
    light.classList.toggle("on", on);
    light.textContent = on ? "live" : "offline";
  };
  const listen = () => {
    if (source || document.hidden || !window.EventSource || !("live" in document.body.dataset)) return;
    source = new EventSource(`/api/events${last === null ? "" : `?after=${last}`}`);
    source.onopen = () => showLight(true);
    source.onerror = () => showLight(false);
    source.onmessage = (message) => {
      last = message.lastEventId || last;
      let event;
      try { event = JSON.parse(message.data); } catch { return; }
      document.dispatchEvent(new CustomEvent("firstlight:event", { detail: event }));
    };
    // Events were forgotten meanwhile: whatever is shown may be old.
    source.addEventListener("gap", () =>
      document.dispatchEvent(new CustomEvent("firstlight:event", { detail: { topic: "gap", data: {} } })));
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) listen();
    else if (source) { source.close(); source = null; }
  });
  addEventListener("pagehide", () => { if (source) { source.close(); source = null; } });
  listen();

  // The bell: the number of what has not been seen, and a message when something comes.
  const bell = document.querySelector("[data-bell]");
  let told = null;
  const ENDED = ["done", "failed", "timed_out"];
  const lookAtBell = async (announce) => {
    const answer = await fetch("/notifications.json", { headers: { Accept: "application/json" } });
    if (!answer.ok) return;
    const { unread, latest } = await answer.json();
    const count = bell.querySelector("[data-count]");
    count.textContent = unread > 99 ? "99+" : String(unread);
    count.hidden = unread === 0;
    bell.setAttribute("aria-label", unread ? `Notifications: ${unread} not seen` : "Notifications");
    if (announce && latest && !latest.seen && latest.id !== told) toast(latest.text, { kind: latest.kind, url: latest.url });
    told = latest ? latest.id : null;
  };
  if (bell) {
    document.addEventListener("firstlight:event", ({ detail }) => {
      const ended = detail.topic === "image_analysis" && ENDED.includes(detail.data.state) && !detail.data.step;
      const analysed = detail.topic === "object" && detail.data.what === "analysis" && detail.data.change === "ended";
      if (detail.topic === "notification" || ended || analysed) lookAtBell(true).catch(() => {});
    });
  }

  // Small comforts, for whatever is or comes into the page.
  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      try { await navigator.clipboard.writeText(copy.dataset.copy); toast("Copied", { seconds: 2 }); }
      catch { toast("The browser does not let this page copy", { kind: "error" }); }
    }
    if (event.target.closest("[data-back]")) history.back(); // to the form, as it was filled in
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of all("details.menu[open]")) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    }
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const search = document.querySelector("header [type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
  });
  document.addEventListener("submit", (event) => {
    const question = (event.submitter || event.target).dataset.confirm || event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  }, true);
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });
  document.addEventListener("htmx:responseError", (event) => {
    let words = `The server answered ${event.detail.xhr.status}`;
    try {
      const { message, data } = JSON.parse(event.detail.xhr.responseText);
      const { field, found, expected, hint } = data || {};
      const more = [field && `${field}${found ? ` is ${found}` : ""}`, expected && `expected ${expected}`, hint];
      words = [message || words, ...more.filter(Boolean)].join("; ");
    } catch { /* no JSON */ }
    toast(words, { kind: "error" });
  });
  document.addEventListener("htmx:sendError", () => toast("The server cannot be reached", { kind: "error" }));

  window.firstlight = Object.assign(window.firstlight || {}, { isDark, toast });
})();
