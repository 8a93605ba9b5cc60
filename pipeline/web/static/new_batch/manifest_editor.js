/* The text of the manifest, with the numbers of its lines, and the errors at their lines. */
import { el } from "./dom.js";

export class ManifestEditor {
  /* `onEdit` is called with the text after a change by hand, `onOpen` before a line is selected. */
  constructor({ onEdit, onOpen }) {
    this.text = document.getElementById("text");
    this.numbers = document.getElementById("line-numbers");
    this.region = document.getElementById("errors");
    this.errorLines = new Set();
    this.onOpen = onOpen;
    this.text.addEventListener("input", () => {
      this.#showNumbers();
      onEdit(this.text.value);
    });
    this.text.addEventListener("scroll", () => this.#showNumbers());
    new ResizeObserver(() => this.#showNumbers()).observe(this.text);
  }

  /* Replace the text, unless a person types in it. */
  show(text) {
    if (this.text.value !== text && document.activeElement !== this.text) this.text.value = text;
    this.#showNumbers();
  }

  /* List errors, and highlight the lines of `marked`. */
  showErrors(errors, marked = errors) {
    this.errorLines = new Set(marked.map(({ line }) => line));
    this.#showNumbers();
    this.region.replaceChildren(...(errors.length ? [el("ul", {}, ...errors.map((error) => this.#entry(error)))] : []));
  }

  /* Number the visible lines and highlight those with an error. */
  #showNumbers() {
    const { text } = this;
    const height = parseFloat(getComputedStyle(text).lineHeight);
    const first = Math.floor(text.scrollTop / height);
    const visible = Math.min(Math.ceil(text.clientHeight / height) + 1, text.value.split("\n").length - first);
    const lines = Array.from({ length: Math.max(visible, 0) }, (_, index) => first + index + 1);
    this.numbers.replaceChildren(...lines.map((line) =>
      el("span", { textContent: line, className: this.errorLines.has(line) ? "has-error" : "" })));
    if (this.numbers.firstChild) this.numbers.firstChild.style.marginTop = `${-(text.scrollTop % height)}px`;
  }

  #entry({ line, column, message }) {
    const position = el("button", { type: "button", className: "plain", textContent: `Line ${line}, column ${column}` });
    position.addEventListener("click", () => this.#select(line));
    return el("li", {}, position, " ", el("bdi", { textContent: message }));
  }

  #select(line) {
    this.onOpen();
    const all = this.text.value.split("\n");
    const first = all.slice(0, line - 1).reduce((sum, before) => sum + before.length + 1, 0);
    this.text.focus();
    this.text.setSelectionRange(first, first + (all[line - 1] ?? "").length);
    this.text.scrollTop = (line - 4) * parseFloat(getComputedStyle(this.text).lineHeight);
  }
}
