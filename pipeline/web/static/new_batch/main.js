/* The page of a new batch: images and prompts, rows, or a manifest. The service makes the manifest of the form, finds
   its errors and estimates the cost, before anything is started. */
import { ColumnTable } from "./column_table.js";
import { fileKey, isFile } from "./dom.js";
import { dropDraft, emptyDraft, storedDraft, storeDraft } from "./draft.js";
import { ItemCards, withoutNamed } from "./item_cards.js";
import { ManifestEditor } from "./manifest_editor.js";
import { ModelForm } from "./model_form.js";
import { Pictures } from "./pictures.js";

const page = document.getElementById("new-batch");
const estimate = document.getElementById("estimate");
const start = document.getElementById("start");
const nameHelp = document.getElementById("name-help");
const VALIDATION_DELAY_MS = 400, MAX_TEXT_MB = 8;
const IS_ROWS = /\.(csv|tsv|jsonl)$/i, IS_MANIFEST = /\.(ya?ml|json)$/i, IS_SHEET = /\.(xlsx?|ods|numbers)$/i;
const IS_PICTURE = /\.(jpe?g|jfif|png|webp|gif|bmp|avif|hei[cf]|tiff?|svg)$/i;

const IS_SYSTEM_FILE = new RegExp(page.dataset.systemFile, "i");

const { copyOf } = page.dataset;
const stored = storedDraft();
const isCopy = copyOf && stored?.copyOf !== copyOf &&
  (!stored || confirm(`You have a draft of another batch. Discard it for a copy of ${copyOf}?`));
const draft = stored && !isCopy ? stored : emptyDraft(page.dataset);
if (draft === stored) ui.notify("This is your draft. “Empty the form” discards it.");
let tab = "images", timer, latest = 0, result = null, rowsFile = null;

const pictures = new Pictures(draft.images, Number(page.dataset.maxImageMb), changed);
const cards = new ItemCards(document.getElementById("image-list"), document.getElementById("more-items"), pictures, {
  onInput: (item) => {
    if (isRow(item)) draft.table.edits[item.row] = item.prompt;
    changed();
  },
  onRemove: (item) => {
    if (isRow(item)) draft.table.removed.push(item.row);
    const others = draft.form.items.filter((other) => other !== item);
    if (isFile(item.image) && !others.some(({ image }) => image === item.image)) pictures.remove(item.image);
    showItems(others);
    document.getElementById("files").focus();
  },
});
const table = new ColumnTable(document.getElementById("columns"), {
  onIgnore: (ignored) => readRows(rowsFile, ignored),
  onRemove: () => {
    [draft.table, rowsFile] = [null, null];
    table.show(null);
    showItems(draft.form.items.filter((item) => !isRow(item)));
  },
});
const editor = new ManifestEditor({
  onEdit: (text) => { draft.text = text; changed(); },
  onOpen: () => { if (tab !== "manifest") showTab("manifest"); },
});
const modelForm = new ModelForm(() => {
  rereadRows();
  changed();
});
const FIELDS = ["name", "budget", "takes", "default-prompt"].map((id) => document.getElementById(id));
const isRow = (item) => item.row !== undefined;
const keyOf = (field) => (field.id === "default-prompt" ? "prompt" : field.id);

/* ---- what is shown ---- */

function showTab(name) {
  tab = name;
  for (const button of page.querySelectorAll("[data-tab]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tab === tab));
  }
  document.getElementById("images").hidden = tab !== "images";
  document.getElementById("manifest").hidden = tab !== "manifest";
  showResult();
}

function showItems(items) {
  draft.form.items = items;
  document.getElementById("no-images").hidden = items.length > 0;
  cards.show(items);
  changed();
}

/* Show a form: that of a draft, of another batch, or of an edited manifest. */
function showForm(form) {
  draft.form = form;
  for (const field of FIELDS) field.value = form[keyOf(field)];
  modelForm.show(form);
  showItems(form.items);
}

/* ---- files ---- */

const refuse = (file, reason) => ui.notify(`${file.name} ${reason}`, true);

async function addFiles(files) {
  const pictureFiles = [];
  const passedOver = files.filter(({ name }) => IS_SYSTEM_FILE.test(name));
  if (passedOver.length) {
    const names = passedOver.slice(0, 3).map(({ name }) => name).join(", ");
    ui.notify(`Passed over, because systems make files of these names: ${names}${passedOver.length > 3 ? ", …" : ""}`);
  }
  for (const file of files.filter((each) => !passedOver.includes(each))) {
    const isText = IS_ROWS.test(file.name) || IS_MANIFEST.test(file.name);
    if (isText && file.size > MAX_TEXT_MB * 1024 * 1024) refuse(file, `is larger than ${MAX_TEXT_MB} MB. Split it.`);
    else if (IS_ROWS.test(file.name)) await readRows(file, []);
    else if (IS_MANIFEST.test(file.name)) {
      draft.text = await file.text();
      editor.text.value = draft.text;
      showTab("manifest");
    } else if (file.type.startsWith("image/") || IS_PICTURE.test(file.name)) pictureFiles.push(file);
    else if (IS_SHEET.test(file.name)) refuse(file, "is a spreadsheet. Export it as CSV, and drop that file.");
    else refuse(file, "is neither an image, nor rows (CSV), nor a manifest.");
  }
  // The images come last: they may be those that the rows or the manifest name.
  pictureFiles.forEach(addPicture);
  changed();
}

function addPicture(file) {
  const named = draft.form.items.find(({ image }) => isFile(image) && fileKey(image) === fileKey(file.name));
  const other = pictures.find(file.name);
  // An image of the same name that is here already is another image: both are kept.
  const isExpected = draft.text !== null || (named && (!other || other.error));
  const name = isExpected ? file.name : pictures.freeName(file.name);
  if (!isExpected) showItems([...draft.form.items, { image: name, prompt: "" }]);
  pictures.add(file, name);
}

/* Read a file of rows. If it is the same one as before, what was changed and removed by hand stays so. */
async function readRows(file, ignored) {
  const query = new URLSearchParams({ file: file.name, model: draft.form.model });
  for (const name of ignored) query.append("ignore", name);
  try {
    const rows = await ui.request(`/new/rows?${query}`, { body: file, type: "application/octet-stream" });
    const { edits, removed } = rowsFile === file ? draft.table : { edits: {}, removed: [] };
    const { items, ...columns } = rows;
    const kept = items.map((item, row) => ({ ...item, prompt: edits[row] ?? item.prompt, row }))
      .filter(({ row }) => !removed.includes(row));
    const others = withoutNamed(draft.form.items.filter((item) => !isRow(item)), items);
    rowsFile = file;
    draft.text = null;
    draft.table = { ...columns, file: file.name, count: items.length, model: draft.form.model, ignored, edits, removed };
    if (!draft.form.name) FIELDS[0].value = draft.form.name = file.name.replace(IS_ROWS, "");
    showItems([...others, ...kept]);
    table.show(draft.table, true);
    showTab("images");
  } catch (error) {
    ui.notify(error.message, true);
  }
}

/* Another model has other parameters, and so the columns mean something else. */
function rereadRows() {
  if (rowsFile && draft.table?.model !== draft.form.model) readRows(rowsFile, draft.table.ignored);
}

/* ---- validation ---- */

function changed() {
  clearTimeout(timer);
  start.disabled = true;
  cards.update();
  timer = setTimeout(validate, VALIDATION_DELAY_MS);
}

function store() {
  draft.images = pictures.images;
  if (!storeDraft(draft)) document.getElementById("draft-help").textContent = "This batch is too large to outlive a reload.";
}

/* What is sent of the form: items without what only this page uses. */
function sentForm() {
  const items = draft.form.items.map(({ row, ...item }) => item);
  return { ...draft.form, takes: Number(draft.form.takes) || 1, items };
}

async function validate() {
  const number = (latest += 1);
  store();
  const batch = draft.text === null ? { form: sentForm() } : { text: draft.text };
  try {
    const found = await ui.request("/new/validate", { body: JSON.stringify({ ...batch, images: pictures.images }) });
    if (number !== latest) return;
    result = found;
  } catch (error) {
    if (number === latest) estimate.textContent = error.message;
    return;
  }
  showResult();
}

/* What the form still needs; '' if the errors that the service found can be shown. */
function missingInput() {
  if (draft.text !== null) return draft.text.trim() ? "" : "Paste a manifest to see the estimated cost.";
  const { items, prompt } = draft.form;
  if (draft.table?.errors.length) return `Correct ${draft.table.file}, or ignore columns: see the errors.`;
  if (!items.length) return "Add images, rows or a manifest to see the estimated cost.";
  if (pictures.areUploading) return "Images are uploading…";
  const hasFailed = ({ image }) => isFile(image) && pictures.find(image)?.error;
  if (items.some(hasFailed)) return "Remove the images whose upload failed.";
  const count = modelForm.needsPrompt && !prompt.trim() ? items.filter((item) => !item.prompt?.trim()).length : 0;
  return count ? `${count === 1 ? "One image has" : `${count} images have`} no prompt yet.` : "";
}

function showResult() {
  if (!result) return;
  const missing = missingInput();
  const isForm = draft.text === null;
  if (isForm && result.text !== null) editor.show(result.text);
  estimate.textContent = missing || result.summary;
  const errors = missing ? [] : result.errors;
  const items = draft.form.items.slice();
  const byItem = new Map(errors.filter(({ item }) => items[item]).map(({ item, message }) => [items[item], message]));
  cards.update(isForm ? byItem : new Map());
  const isOnCard = ({ item }) => isForm && tab === "images" && cards.cards.has(items[item]);
  editor.showErrors(errors.filter((error) => !isOnCard(error)), errors);
  document.getElementById("missing").textContent = result.missing ? `Missing: ${result.missing.join(", ")}` : "";
  nameHelp.textContent = result.name && result.name !== draft.form.name && isForm
    ? `The name will be ${result.name}.` : "Lower-case letters, digits and hyphens. Other text is converted.";
  start.disabled = Boolean(missing) || result.manifest === null;
}

/* ---- actions ---- */

async function submit(event) {
  event.preventDefault();
  if (start.disabled || (result.question && !confirm(result.question))) return;
  start.disabled = true;
  estimate.textContent = "Starting…";
  try {
    const batch = await ui.request("/api/v1/batches", {
      body: result.manifest,
      type: "application/yaml",
      headers: { "Idempotency-Key": `${result.name}-${draft.stamp}` },
    });
    dropDraft();
    location.assign(`/batches/${encodeURIComponent(batch.id)}`);
  } catch (error) {
    estimate.textContent = error.message;
    editor.showErrors(error.errors ?? []);
    start.disabled = false;
  }
}

/* Leave the manifest: if it was edited, the form takes it over. */
async function openForm() {
  if (draft.text?.trim()) {
    try {
      const form = await ui.request("/new/form", { body: draft.text, type: "application/yaml" });
      [draft.table, rowsFile] = [null, null];
      table.show(null);
      draft.text = null;
      showForm(form);
    } catch (error) {
      return ui.notify(`${error.message} Correct the manifest first.`, true);
    }
  }
  draft.text = null;
  showTab("images");
  changed();
}

async function copyBatch(batchId) {
  try {
    showForm(await ui.request(`/batches/${encodeURIComponent(batchId)}/form`, { method: "GET" }));
  } catch (error) {
    ui.notify(error.message, true);
  }
}

page.addEventListener("submit", submit);
document.getElementById("empty-form").addEventListener("click", () => {
  clearTimeout(timer);
  dropDraft();
  location.assign("/new");
});
for (const button of page.querySelectorAll("[data-tab]")) {
  button.addEventListener("click", () => (button.dataset.tab === "images" ? openForm() : showTab("manifest")));
}
for (const field of FIELDS) {
  field.addEventListener("input", () => { draft.form[keyOf(field)] = field.value; changed(); });
}
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

showForm(draft.form);
table.show(draft.table, false);
if (draft.text !== null) {
  editor.text.value = draft.text;
  showTab("manifest");
}
if (isCopy) copyBatch(copyOf);
