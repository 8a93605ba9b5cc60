/* The items of the form as cards: an image, its prompt, what is wrong with it. */
import { el, fileKey, isFile } from "./dom.js";

const MAX_CARDS = 100;
let lastId = 0;

export class ItemCards {
  /* `pictures`: finds the dropped images. `onInput` is called with an item whose prompt has changed, `onRemove` with one
     that a person removes. */
  constructor(list, more, pictures, { onInput, onRemove }) {
    Object.assign(this, { list, more, pictures, onInput, onRemove, cards: new Map() });
  }

  /* Show these items. Cards of items that were shown before stay, and so does the focus. */
  show(items) {
    const shown = items.slice(0, MAX_CARDS);
    const cards = new Map(shown.map((item, index) => [item, this.cards.get(item) ?? this.#create(item, index)]));
    this.cards = cards;
    this.list.replaceChildren(...[...cards.values()].map(({ card }) => card));
    this.more.textContent = items.length > shown.length
      ? `Here are the first ${shown.length} of ${items.length.toLocaleString("en")} items. The manifest has them all.` : "";
    this.update();
  }

  /* Show the states of the images. `errors`: messages by item. */
  update(errors = new Map()) {
    for (const [item, { image, status, error }] of this.cards) {
      const picture = isFile(item.image) ? this.pictures.find(item.image) : null;
      const source = picture?.preview ?? storedImage(picture?.uri ?? item.image);
      if (source && image.getAttribute("src") !== source) Object.assign(image, { src: source, hidden: false });
      status.textContent = isFile(item.image) ? picture?.state ?? "missing: drop this file here" : "";
      error.textContent = [picture?.error, errors.get(item)].filter(Boolean).join("\n");
      error.hidden = !error.textContent;
    }
  }

  #create(item, index) {
    const name = isFile(item.image) ? item.image : item.id ?? item.image ?? `item ${index + 1}`;
    const id = `prompt-${(lastId += 1)}`;
    const image = el("img", { alt: "", hidden: true });
    image.addEventListener("error", () => {
      image.hidden = true;
      // Browsers do not show HEIC: the stored image is a JPEG.
      const picture = isFile(item.image) && this.pictures.find(item.image);
      if (picture?.preview) picture.preview = null;
    });
    const status = el("span", { className: "muted", role: "status" });
    const error = el("p", { className: "error", id: `${id}-error`, hidden: true });
    const prompt = el("textarea", { id, rows: 2, maxLength: 10000, dir: "auto", value: item.prompt ?? "" });
    prompt.setAttribute("aria-describedby", error.id);
    prompt.addEventListener("input", () => {
      item.prompt = prompt.value;
      this.onInput(item);
    });
    const remove = el("button", { type: "button", className: "plain", textContent: "Remove", ariaLabel: `Remove ${name}` });
    remove.addEventListener("click", () => this.onRemove(item));
    const label = el("label", { htmlFor: id, textContent: `Prompt for ${name}` });
    const file = el("p", { className: "file" }, el("bdi", { textContent: name }), " ", status);
    return { card: el("li", {}, image, el("div", {}, file, label, prompt, error), remove), image, status, error };
  }
}

/* The address on this service that shows an image on S3; '' for other images, which are not loaded before they are used. */
const storedImage = (uri) => (uri?.startsWith("s3://") ? `/new/image?uri=${encodeURIComponent(uri)}` : "");

/* Remove from `items` those that were made of dropped images which the new rows name themselves. */
export function withoutNamed(items, rows) {
  const named = new Set(rows.filter(({ image }) => isFile(image)).map(({ image }) => fileKey(image)));
  return items.filter((item) => item.prompt || !isFile(item.image) || !named.has(fileKey(item.image)));
}
