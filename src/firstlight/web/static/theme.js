// Sets the colours chosen before anything is drawn: "dark", "light", or those of the system.
(() => {
  const root = document.documentElement;
  let chosen = null;
  try { chosen = localStorage.getItem("firstlight.theme"); } catch { /* storage may be refused */ }
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  root.classList.add("scripted");
})();
