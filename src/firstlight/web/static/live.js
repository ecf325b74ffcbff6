// Keeps a page as it would be if it were asked for now. Without scripts the page stays as it is.
//
// When an event tells that something has come, the page is asked for again, at most every two
// seconds, and its parts with data-live are put in place of the old ones. The attribute
// data-events of the body says which events those are.
(() => {
  const parts = () => document.querySelectorAll("[data-live]");
  const light = document.querySelector(".live");
  if (!window.EventSource || parts().length === 0) return;

  let waiting = false;
  let busy = false;
  let last = 0;

  const refresh = async () => {
    if (busy) { waiting = true; return; }
    busy = true;
    waiting = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of parts()) {
          const fresh = page.getElementById(part.id);
          if (fresh && fresh.innerHTML !== part.innerHTML) part.replaceWith(fresh);
        }
      }
    } finally {
      last = Date.now();
      busy = false;
      if (waiting) soon();
    }
  };

  let timer = null;
  const soon = () => {
    if (timer !== null) return;
    timer = setTimeout(() => { timer = null; refresh(); }, Math.max(150, last + 2000 - Date.now()));
  };

  const source = new EventSource(document.body.dataset.events || "/api/events");
  source.onopen = () => { if (light) { light.classList.add("on"); light.textContent = "live"; } };
  source.onerror = () => { if (light) { light.classList.remove("on"); light.textContent = "offline"; } };
  source.onmessage = soon;
})();
