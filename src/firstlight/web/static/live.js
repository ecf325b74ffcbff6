// Keeps a page as it would be if it were asked for now. Without scripts the page stays as it is.
//
// When an event tells that something has come, the page is asked for again, at most every two
// seconds, and its parts with data-live are put in place of the old ones. Such a part has an id,
// and may say what it waits for: data-topics="object imagedata", data-site, data-object.
// data-live-every of the body is another time, in milliseconds.
(() => {
  "use strict";
  const parts = () => [...document.querySelectorAll("[data-live][id]")];

  const waitsFor = (part, { topic, site, data }) => {
    if (topic === "gap") return true;
    const { topics, site: itsSite, object } = part.dataset;
    if (topics && !topics.split(" ").includes(topic)) return false;
    if (itsSite && site !== itsSite) return false;
    return !object || !data || data.object === undefined || data.object === object;
  };

  const pause = Number(document.body.dataset.liveEvery || 2000);
  let busy = false;
  let waiting = false;
  let last = 0;
  let timer = null;

  // What somebody is writing in stays.
  const isChosen = (list) => [...list.options].some((each) => each.selected)
    && list.selectedIndex !== Math.max(0, [...list.options].findIndex((each) => each.defaultSelected));
  const isChanged = (field) => {
    if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
    if (field.options) return isChosen(field);
    return "defaultValue" in field && field.type !== "hidden" && field.value !== field.defaultValue;
  };
  const inUse = (part) => part.querySelector("details.menu[open]") !== null
    || [...part.querySelectorAll("input, textarea, select")].some(
      (field) => field === document.activeElement || isChanged(field));

  const refresh = async () => {
    if (busy) { waiting = true; return; }
    busy = true;
    waiting = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        const fresh = page.getElementById(part.id);
        if (!fresh || fresh.innerHTML === part.innerHTML || inUse(part)) continue;
        const open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
        const hadFocus = part.contains(document.activeElement);
        part.replaceWith(fresh);
        for (const id of open) {
          const again = document.getElementById(id);
          if (again) again.open = true;
        }
        if (window.htmx) window.htmx.process(fresh);
        fresh.dispatchEvent(new CustomEvent("firstlight:fresh", { bubbles: true, detail: { hadFocus } }));
      }
    } finally {
      last = Date.now();
      busy = false;
      if (waiting) soon();
    }
  };

  const soon = () => {
    if (timer !== null) return;
    timer = setTimeout(() => {
      timer = null;
      refresh().catch(() => {});
    }, Math.max(150, last + pause - Date.now()));
  };

  document.addEventListener("firstlight:event", ({ detail }) => {
    if (parts().some((part) => waitsFor(part, detail))) soon();
  });
})();
