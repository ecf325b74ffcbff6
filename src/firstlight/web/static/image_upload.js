// Uploads images as soon as they are chosen or dropped, with progress, and then asks for the form
// that is filled in with what their headers tell. Without scripts the form does it in two steps.
(() => {
  "use strict";
  const form = document.getElementById("upload");
  if (!form) return;
  const input = form.querySelector("[type=file]");
  const drop = form.querySelector("[data-drop]");
  const list = form.querySelector("[data-files]");
  const limit = Number(form.dataset.limit);
  const most = Number(form.dataset.most);
  const token = form.querySelector("[name=csrf_token]").value;
  const size = (bytes) => (bytes < 1e6 ? `${(bytes / 1e3).toFixed(0)} kB` : bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

  const row = (file) => {
    const item = document.createElement("li");
    const name = document.createElement("b");
    name.textContent = file.name;
    const told = document.createElement("span");
    told.className = "quiet small";
    told.textContent = ` ${size(file.size)}`;
    const bar = document.createElement("progress");
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Upload of ${file.name}`);
    item.append(name, told, bar);
    list.append(item);
    return {
      progress: (share) => { bar.value = share; told.textContent = ` ${Math.round(100 * share)} % of ${size(file.size)}`; },
      fail: (words) => {
        bar.remove();
        told.className = "wrong";
        told.textContent = ` ${words}`;
      },
    };
  };

  const send = (file) => new Promise((resolve) => {
    const shown = row(file);
    if (file.size > limit) {
      shown.fail(`is ${size(file.size)}; at most ${size(limit)} can be uploaded. Pack it with fpack or cut it.`);
      resolve(null);
      return;
    }
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", file, file.name);
    request.open("POST", form.dataset.upload);
    if (token) request.setRequestHeader("X-CSRF-Token", token);
    request.setRequestHeader("Accept", "application/json");
    request.upload.onprogress = (event) => { if (event.lengthComputable) shown.progress(event.loaded / event.total); };
    request.onerror = () => { shown.fail("could not be sent: the server cannot be reached"); resolve(null); };
    request.onload = () => {
      let answer = {};
      try { answer = JSON.parse(request.responseText); } catch { /* no JSON: told below */ }
      if (request.status >= 200 && request.status < 300 && answer.data) { shown.progress(1); resolve(answer.data[0].id); return; }
      const { hint, found, expected } = answer.data || {};
      const more = [found && `found ${found}`, expected && `expected ${expected}`, hint].filter(Boolean).join("; ");
      shown.fail(`${answer.message || `the server answered ${request.status}`}${more ? ` (${more})` : ""}`);
      resolve(null);
    };
    request.send(body);
  });

  const take = async (files) => {
    const chosen = [...files];
    if (!chosen.length || form.classList.contains("busy")) return;
    list.replaceChildren();
    if (chosen.length > most) {
      window.firstlight.toast(`At most ${most} images at once`, { kind: "error" });
      return;
    }
    input.disabled = true;
    form.classList.add("busy");
    const ids = [];
    for (const file of chosen) {
      const id = await send(file);
      if (id) ids.push(id);
    }
    input.disabled = false;
    input.value = "";
    form.classList.remove("busy");
    if (ids.length === chosen.length) location.assign(`${form.dataset.next}?${new URLSearchParams(ids.map((id) => ["upload", id]))}#choices`);
    else if (ids.length) {
      const next = document.createElement("a");
      next.className = "button primary";
      next.textContent = `Go on with the other ${ids.length}`;
      next.href = `${form.dataset.next}?${new URLSearchParams(ids.map((id) => ["upload", id]))}#choices`;
      list.append(next);
    }
  };

  input.addEventListener("change", () => take(input.files));
  form.addEventListener("submit", (event) => { event.preventDefault(); take(input.files); });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
  // Whoever was quicker than this script has chosen already, and nobody heard it.
  take(input.files);
})();
