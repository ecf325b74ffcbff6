// Keys for looking through candidates: J K next and previous, R B U verdicts, O the object, N the
// next page. Without scripts the buttons under each candidate do the same.
(() => {
  "use strict";
  const cards = () => [...document.querySelectorAll(".candidate")];
  let chosen = null; // the id of the card that the keys are about
  const current = () => document.activeElement?.closest(".candidate");
  document.addEventListener("focusin", ({ target }) => {
    const card = target.closest(".candidate");
    if (card) chosen = card.id;
  });
  // The list was renewed, and with it the card went that had the focus. Who had left the card
  // before, as by a click beside it, is not brought back.
  document.addEventListener("firstlight:fresh", ({ detail }) => {
    const card = detail.hadFocus && chosen && document.getElementById(chosen);
    if (card) card.focus({ preventScroll: true });
  });

  const go = (step) => {
    const list = cards();
    const here = current() || (chosen && document.getElementById(chosen));
    const at = here ? list.indexOf(here) + step : 0;
    const next = list[Math.max(0, Math.min(list.length - 1, at))];
    if (!next) return;
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };

  const show = (card, verdict) => {
    const name = card.querySelector(".name");
    for (const chip of name.querySelectorAll(".chip.good, .chip.bad")) chip.remove();
    if (verdict) {
      const chip = document.createElement("span");
      chip.className = `chip ${verdict === "real" ? "good" : "bad"}`;
      chip.textContent = verdict;
      name.append(chip);
    }
    for (const button of card.querySelectorAll(".verdict [aria-pressed]")) {
      button.setAttribute("aria-pressed", String(button.value === verdict));
    }
    card.querySelector(".verdict [value='']").hidden = !verdict;
  };

  const judge = async (card, verdict) => {
    const form = card && card.querySelector("form.verdict");
    if (!form) return;
    const body = new URLSearchParams(new FormData(form));
    body.set("verdict", verdict);
    const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
    if (answer.ok || answer.type === "opaqueredirect") show(card, verdict);
    else window.firstlight.toast(`The server answered ${answer.status}`, { kind: "error" });
  };
  const tell = (card, verdict) =>
    judge(card, verdict).catch(() => window.firstlight.toast("The server cannot be reached", { kind: "error" }));

  document.addEventListener("submit", (event) => {
    const card = event.target.matches("form.verdict") && event.target.closest(".candidate");
    if (!card || !event.submitter) return;
    event.preventDefault();
    tell(card, event.submitter.value);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const key = event.key.toLowerCase();
    const card = current();
    if (key === "j") go(1);
    else if (key === "k") go(-1);
    else if (key === "n") document.querySelector("a[rel=next]")?.click();
    else if (key === "o" && card) card.querySelector("[data-object]")?.click();
    else if (key === "u" && card) tell(card, "");
    else if ((key === "r" || key === "b") && card) {
      tell(card, key === "r" ? "real" : "bogus");
      go(1);
    } else if ("orbu".includes(key)) {
      window.firstlight.toast("Choose a candidate first: J and K go through them", { seconds: 4 });
    } else return;
    event.preventDefault();
  });
})();
