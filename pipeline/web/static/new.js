"use strict";
/* A new batch: pictures and prompts, or a manifest; its mistakes and its price before it is begun. */
(() => {
  const form = document.getElementById("new");
  const text = document.getElementById("text");
  const every = document.getElementById("every");
  const name = document.getElementById("name");
  const chosen = document.getElementById("chosen");
  const estimate = document.getElementById("estimate");
  const mistakes = document.getElementById("mistakes");
  const lines = document.getElementById("lines");
  const start = document.getElementById("start");
  const AT_ONCE = 3, SOON_MS = 400, MOST_MANIFEST_BYTES = 8 * 1024 * 1024;
  const pictures = [];
  let tab = "pictures", uploading = 0, soon, asked = 0, wrong = new Set();

  const isManifest = (file) => /\.(ya?ml|json)$/i.test(file.name);

  function choose(tabName) {
    tab = tabName;
    for (const button of form.querySelectorAll("[data-tab]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
    }
    document.getElementById("pictures").hidden = tab !== "pictures";
    document.getElementById("manifest").hidden = tab !== "manifest";
    judgeSoon();
  }

  async function take(files) {
    for (const file of files) {
      if (isManifest(file)) {
        if (file.size > MOST_MANIFEST_BYTES) ui.say("A manifest has at most 8 MB.", true);
        else {
          text.value = await file.text();
          choose("manifest");
        }
      } else if (file.type.startsWith("image/") || !file.type) add(file);
      else ui.say(`${file.name} is neither a picture nor a manifest.`, true);
    }
    upload();
  }

  function add(file) {
    const picture = { file, uri: null, state: "waits", card: document.createElement("li") };
    const at = `prompt-${pictures.length}-${Date.now()}`;
    picture.card.innerHTML =
      '<img alt=""><div><p class="file"><bdi></bdi> <span class="soft" role="status"></span></p><label></label>' +
      '<textarea rows="2" maxlength="10000" dir="auto"></textarea><p class="error" hidden></p></div>' +
      '<button type="button" class="plain">Remove</button>';
    const [image, label, prompt] = ["img", "label", "textarea"].map((tag) => picture.card.querySelector(tag));
    image.src = URL.createObjectURL(file);
    picture.card.querySelector("bdi").textContent = file.name;
    label.textContent = `Prompt for ${file.name}`;
    label.htmlFor = prompt.id = at;
    prompt.addEventListener("input", judgeSoon);
    const remove = picture.card.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => drop(picture));
    pictures.push(picture);
    chosen.append(picture.card);
    document.getElementById("none").hidden = true;
    if (tab !== "pictures") choose("pictures");
  }

  function drop(picture) {
    pictures.splice(pictures.indexOf(picture), 1);
    URL.revokeObjectURL(picture.card.querySelector("img").src);
    picture.card.remove();
    document.getElementById("none").hidden = pictures.length > 0;
    document.getElementById("files").focus();
    judgeSoon();
  }

  /* Pictures are stored as soon as they are chosen, a few at a time, so that starting takes no time. */
  function upload() {
    for (const picture of pictures) {
      if (uploading >= AT_ONCE) return;
      if (picture.state === "waits") store(picture);
    }
  }

  async function store(picture) {
    uploading += 1;
    picture.state = "goes up";
    const state = picture.card.querySelector("[role=status]");
    state.textContent = "going up…";
    try {
      const stored = await ui.ask("/api/v1/inputs", { body: picture.file, type: picture.file.type || "image/jpeg" });
      picture.uri = stored.uri;
      picture.state = state.textContent = "stored";
    } catch (error) {
      picture.state = "failed";
      state.textContent = "not stored";
      tell(picture, error.message);
    }
    uploading -= 1;
    upload();
    judgeSoon();
  }

  function tell(picture, words) {
    const error = picture.card.querySelector(".error");
    error.textContent = words;
    error.hidden = !words;
  }

  const promptOf = (picture) => picture.card.querySelector("textarea").value.trim() || every.value.trim();

  /* Items are called by their files; a name that is there already gets a number. */
  function names() {
    const taken = new Set();
    return pictures.map(({ file }, at) => {
      const name = file.name.replace(/\.\w+$/, "").replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "").slice(0, 60);
      let id = name || `picture-${at + 1}`;
      for (let number = 2; taken.has(id); number += 1) id = `${name || "picture"}-${number}`;
      taken.add(id);
      return id;
    });
  }

  /* The manifest that is meant, an item a line, so that a mistake's line tells its picture. */
  function manifest() {
    if (tab === "manifest") return text.value;
    const head = { version: 1, name: name.value, model: form.dataset.model };
    const ids = names();
    const items = pictures.map((picture, at) => JSON.stringify({ id: ids[at], image: picture.uri, prompt: promptOf(picture) }));
    return `${JSON.stringify(head).slice(0, -1)}, "items": [\n${items.join(",\n")}\n]}`;
  }

  /* What is still missing, in words; '' when there is something to judge. */
  function missing() {
    if (tab === "manifest") return text.value.trim() ? "" : "Paste a manifest to see what it would cost.";
    if (!pictures.length) return "Add pictures or a manifest to see what it would cost.";
    if (!name.checkValidity()) return "The name has small letters, digits and hyphens only.";
    if (pictures.some((picture) => picture.state === "failed")) return "Remove the pictures that could not be stored.";
    if (pictures.some((picture) => !picture.uri)) return "Pictures are going up…";
    const without = pictures.filter((picture) => !promptOf(picture)).length;
    return without ? `${without === 1 ? "One picture has" : `${without} pictures have`} no prompt yet.` : "";
  }

  function judgeSoon() {
    clearTimeout(soon);
    start.disabled = true;
    soon = setTimeout(judge, SOON_MS);
  }

  async function judge() {
    const mine = ++asked;
    const lacks = missing();
    showMistakes([]);
    if (lacks) {
      estimate.textContent = lacks;
      return;
    }
    try {
      const found = await ui.ask("/new/judge", { body: manifest(), type: "application/yaml" });
      if (mine !== asked) return;
      if (found.errors) {
        estimate.textContent = found.detail;
        showMistakes(found.errors);
        return;
      }
      estimate.textContent = words(found);
      start.dataset.name = found.name;
      start.disabled = false;
    } catch (error) {
      if (mine === asked) estimate.textContent = error.message;
    }
  }

  function words({ items, model, per_run_usd: each, total_usd: total }) {
    const what = `${items.toLocaleString("en")} item${items === 1 ? "" : "s"} of ${model}`;
    return total === null ? `${what}. The vendor tells no price for a run.` : `${what}: about $${total}, at $${each} a run.`;
  }

  /* The numbers of the lines that are seen; those with a mistake stand out. */
  function number() {
    const height = parseFloat(getComputedStyle(text).lineHeight);
    const first = Math.floor(text.scrollTop / height);
    const seen = Math.min(Math.ceil(text.clientHeight / height) + 1, text.value.split("\n").length - first);
    lines.replaceChildren(...Array.from({ length: Math.max(seen, 0) }, (_, at) => {
      const line = document.createElement("span");
      line.textContent = first + at + 1;
      line.className = wrong.has(first + at + 1) ? "wrong" : "";
      return line;
    }));
    if (lines.firstChild) lines.firstChild.style.marginTop = `${-(text.scrollTop % height)}px`;
  }

  function showMistakes(errors) {
    mistakes.replaceChildren();
    wrong = new Set(tab === "manifest" ? errors.map((error) => error.line) : []);
    number();
    for (const picture of pictures) if (picture.state === "stored") tell(picture, "");
    const list = document.createElement("ul");
    for (const { line, column, message } of errors) {
      const picture = tab === "pictures" ? pictures[line - 2] : null;
      if (picture) {
        tell(picture, message);
        continue;
      }
      const item = document.createElement("li");
      const there = document.createElement("button");
      there.type = "button";
      there.className = "plain";
      there.textContent = `Line ${line}, column ${column}`;
      there.addEventListener("click", () => select(line));
      const what = document.createElement("bdi");
      what.textContent = message;
      item.append(there, " ", what);
      list.append(item);
    }
    if (list.children.length) mistakes.append(list);
  }

  function select(line) {
    const all = text.value.split("\n");
    const first = all.slice(0, line - 1).reduce((sum, before) => sum + before.length + 1, 0);
    choose("manifest");
    text.focus();
    text.setSelectionRange(first, first + (all[line - 1] ?? "").length);
    text.scrollTop = (line - 4) * parseFloat(getComputedStyle(text).lineHeight);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    estimate.textContent = "Starting…";
    try {
      const batch = await ui.ask("/api/v1/batches", {
        body: manifest(),
        type: "application/yaml",
        headers: { "Idempotency-Key": `${start.dataset.name}-${form.dataset.stamp}` },
      });
      location.assign(`/batches/${encodeURIComponent(batch.id)}`);
    } catch (error) {
      estimate.textContent = error.message;
      showMistakes(error.errors ?? []);
      start.disabled = false;
    }
  });

  const zone = document.getElementById("drop");
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(Array.from(event.dataTransfer.files));
  });
  document.getElementById("files").addEventListener("change", (event) => {
    take(Array.from(event.target.files));
    event.target.value = "";
  });
  for (const button of form.querySelectorAll("[data-tab]")) {
    button.addEventListener("click", () => choose(button.dataset.tab));
  }
  for (const field of [text, every, name]) field.addEventListener("input", judgeSoon);
  text.addEventListener("input", number);
  text.addEventListener("scroll", number);
  new ResizeObserver(number).observe(text);
  judge();
})();
