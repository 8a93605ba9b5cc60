"use strict";
/* The form of a new batch: images and prompts, or a manifest. Shows errors and the estimated cost before the start. */
(() => {
  const form = document.getElementById("new-batch");
  const text = document.getElementById("text");
  const defaultPrompt = document.getElementById("default-prompt");
  const name = document.getElementById("name");
  const imageList = document.getElementById("image-list");
  const estimate = document.getElementById("estimate");
  const errorRegion = document.getElementById("errors");
  const lineNumbers = document.getElementById("line-numbers");
  const start = document.getElementById("start");
  const MAX_CONCURRENT_UPLOADS = 3, VALIDATION_DELAY_MS = 400, MAX_MANIFEST_BYTES = 8 * 1024 * 1024;
  const images = [];
  let tab = "images", uploads = 0, validationTimer, latestValidation = 0, errorLines = new Set();

  const isManifest = (file) => /\.(ya?ml|json)$/i.test(file.name);

  function selectTab(tabName) {
    tab = tabName;
    for (const button of form.querySelectorAll("[data-tab]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
    }
    document.getElementById("images").hidden = tab !== "images";
    document.getElementById("manifest").hidden = tab !== "manifest";
    scheduleValidation();
  }

  async function addFiles(files) {
    for (const file of files) {
      if (isManifest(file)) {
        if (file.size > MAX_MANIFEST_BYTES) ui.notify(`${file.name} is larger than 8 MB. Split the manifest.`, true);
        else {
          text.value = await file.text();
          selectTab("manifest");
        }
      } else if (file.type.startsWith("image/") || !file.type) addImage(file);
      else ui.notify(`${file.name} is neither an image nor a manifest.`, true);
    }
    uploadNext();
  }

  function addImage(file) {
    const image = { file, uri: null, state: "waiting", card: document.createElement("li") };
    image.card.innerHTML =
      '<img alt=""><div><p class="file"><bdi></bdi> <span class="muted" role="status"></span></p><label></label>' +
      '<textarea rows="2" maxlength="10000" dir="auto"></textarea><p class="error" hidden></p></div>' +
      '<button type="button" class="plain">Remove</button>';
    const [preview, label, prompt] = ["img", "label", "textarea"].map((tag) => image.card.querySelector(tag));
    preview.src = URL.createObjectURL(file);
    image.card.querySelector("bdi").textContent = file.name;
    label.textContent = `Prompt for ${file.name}`;
    label.htmlFor = prompt.id = `prompt-${images.length}-${Date.now()}`;
    prompt.addEventListener("input", scheduleValidation);
    const remove = image.card.querySelector("button");
    remove.setAttribute("aria-label", `Remove ${file.name}`);
    remove.addEventListener("click", () => removeImage(image));
    images.push(image);
    imageList.append(image.card);
    document.getElementById("no-images").hidden = true;
    if (tab !== "images") selectTab("images");
  }

  function removeImage(image) {
    images.splice(images.indexOf(image), 1);
    URL.revokeObjectURL(image.card.querySelector("img").src);
    image.card.remove();
    document.getElementById("no-images").hidden = images.length > 0;
    document.getElementById("files").focus();
    scheduleValidation();
  }

  /* Images are uploaded as soon as they are added, so that the batch starts without a delay. */
  function uploadNext() {
    for (const image of images) {
      if (uploads >= MAX_CONCURRENT_UPLOADS) return;
      if (image.state === "waiting") upload(image);
    }
  }

  async function upload(image) {
    uploads += 1;
    image.state = "uploading";
    const status = image.card.querySelector("[role=status]");
    status.textContent = "uploading…";
    try {
      const stored = await ui.request("/api/v1/inputs", { body: image.file, type: image.file.type || "image/jpeg" });
      image.uri = stored.uri;
      image.state = status.textContent = "uploaded";
    } catch (error) {
      image.state = "failed";
      status.textContent = "upload failed";
      showImageError(image, error.message);
    }
    uploads -= 1;
    uploadNext();
    scheduleValidation();
  }

  function showImageError(image, message) {
    const error = image.card.querySelector(".error");
    error.textContent = message;
    error.hidden = !message;
  }

  const promptOf = (image) => image.card.querySelector("textarea").value.trim() || defaultPrompt.value.trim();

  /* The item ids: file names without characters that an id cannot have, numbered if they repeat. */
  function itemIds() {
    const taken = new Set();
    return images.map(({ file }, index) => {
      const stem = file.name.replace(/\.\w+$/, "").replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "").slice(0, 60);
      let id = stem || `image-${index + 1}`;
      for (let number = 2; taken.has(id); number += 1) id = `${stem || "image"}-${number}`;
      taken.add(id);
      return id;
    });
  }

  /* The manifest of the form. Each item is one line, so that the line of an error identifies its image. */
  function manifest() {
    if (tab === "manifest") return text.value;
    const head = { version: 1, name: name.value, model: form.dataset.model };
    const ids = itemIds();
    const items = images.map((image, index) => JSON.stringify({ id: ids[index], image: image.uri, prompt: promptOf(image) }));
    return `${JSON.stringify(head).slice(0, -1)}, "items": [\n${items.join(",\n")}\n]}`;
  }

  /* What the form still needs; '' if the manifest can be validated. */
  function missingInput() {
    if (tab === "manifest") return text.value.trim() ? "" : "Paste a manifest to see the estimated cost.";
    if (!images.length) return "Add images or a manifest to see the estimated cost.";
    if (!name.checkValidity()) return "The name may only have lower-case letters, digits and hyphens.";
    if (images.some((image) => image.state === "failed")) return "Remove the images whose upload failed.";
    if (images.some((image) => !image.uri)) return "Images are uploading…";
    const count = images.filter((image) => !promptOf(image)).length;
    return count ? `${count === 1 ? "One image has" : `${count} images have`} no prompt yet.` : "";
  }

  function scheduleValidation() {
    clearTimeout(validationTimer);
    start.disabled = true;
    validationTimer = setTimeout(validate, VALIDATION_DELAY_MS);
  }

  async function validate() {
    const validation = ++latestValidation;
    const missing = missingInput();
    showErrors([]);
    if (missing) {
      estimate.textContent = missing;
      return;
    }
    try {
      const result = await ui.request("/new/validate", { body: manifest(), type: "application/yaml" });
      if (validation !== latestValidation) return;
      estimate.textContent = result.summary;
      showErrors(result.errors);
      start.dataset.name = result.name;
      start.disabled = result.errors.length > 0;
    } catch (error) {
      if (validation === latestValidation) estimate.textContent = error.message;
    }
  }

  /* Number the visible lines and highlight those with an error. */
  function showLineNumbers() {
    const height = parseFloat(getComputedStyle(text).lineHeight);
    const first = Math.floor(text.scrollTop / height);
    const visible = Math.min(Math.ceil(text.clientHeight / height) + 1, text.value.split("\n").length - first);
    lineNumbers.replaceChildren(...Array.from({ length: Math.max(visible, 0) }, (_, index) => {
      const line = document.createElement("span");
      line.textContent = first + index + 1;
      line.className = errorLines.has(first + index + 1) ? "has-error" : "";
      return line;
    }));
    if (lineNumbers.firstChild) lineNumbers.firstChild.style.marginTop = `${-(text.scrollTop % height)}px`;
  }

  function showErrors(errors) {
    errorRegion.replaceChildren();
    errorLines = new Set(tab === "manifest" ? errors.map((error) => error.line) : []);
    showLineNumbers();
    for (const image of images) if (image.state === "uploaded") showImageError(image, "");
    const list = document.createElement("ul");
    for (const { line, column, message } of errors) {
      const image = tab === "images" ? images[line - 2] : null;
      if (image) showImageError(image, message);
      else list.append(errorEntry(line, column, message));
    }
    if (list.children.length) errorRegion.append(list);
  }

  function errorEntry(line, column, message) {
    const position = document.createElement("button");
    position.type = "button";
    position.className = "plain";
    position.textContent = `Line ${line}, column ${column}`;
    position.addEventListener("click", () => selectLine(line));
    const description = document.createElement("bdi");
    description.textContent = message;
    const entry = document.createElement("li");
    entry.append(position, " ", description);
    return entry;
  }

  function selectLine(line) {
    const all = text.value.split("\n");
    const first = all.slice(0, line - 1).reduce((sum, before) => sum + before.length + 1, 0);
    selectTab("manifest");
    text.focus();
    text.setSelectionRange(first, first + (all[line - 1] ?? "").length);
    text.scrollTop = (line - 4) * parseFloat(getComputedStyle(text).lineHeight);
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    start.disabled = true;
    estimate.textContent = "Starting…";
    try {
      const batch = await ui.request("/api/v1/batches", {
        body: manifest(),
        type: "application/yaml",
        headers: { "Idempotency-Key": `${start.dataset.name}-${form.dataset.stamp}` },
      });
      location.assign(`/batches/${encodeURIComponent(batch.id)}`);
    } catch (error) {
      estimate.textContent = error.message;
      showErrors(error.errors ?? []);
      start.disabled = false;
    }
  });

  const dropZone = document.getElementById("drop-zone");
  for (const type of ["dragenter", "dragover"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      dropZone.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) dropZone.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dropZone.classList.remove("over");
    addFiles(Array.from(event.dataTransfer.files));
  });
  document.getElementById("files").addEventListener("change", (event) => {
    addFiles(Array.from(event.target.files));
    event.target.value = "";
  });
  for (const button of form.querySelectorAll("[data-tab]")) {
    button.addEventListener("click", () => selectTab(button.dataset.tab));
  }
  for (const field of [text, defaultPrompt, name]) field.addEventListener("input", scheduleValidation);
  text.addEventListener("input", showLineNumbers);
  text.addEventListener("scroll", showLineNumbers);
  new ResizeObserver(showLineNumbers).observe(text);
  validate();
})();
