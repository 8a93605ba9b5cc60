/* The model and its parameters. Without the vendor's answer the model is a plain text field, and parameters are added
   by their names. */
import { el } from "./dom.js";

const SEARCH_DELAY_MS = 300;
const IS_MODEL = /^[\w.-]+\/[\w.-]+$/;

export class ModelForm {
  /* `onChange` is called after each change. */
  constructor(onChange) {
    Object.assign(this, { form: null, onChange, fields: null, needsPrompt: true, latest: 0, latestSearch: 0 });
    this.input = document.getElementById("model");
    this.help = document.getElementById("model-help");
    this.list = document.getElementById("models");
    this.region = document.getElementById("params");
    this.adder = document.getElementById("add-param");
    this.input.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.#typed(), SEARCH_DELAY_MS);
    });
    this.adder.querySelector("button").addEventListener("click", () => this.#add());
  }

  /* Show the `model` and the `params` of a form. They are changed here. */
  show(form) {
    this.form = form;
    this.input.value = form.model;
    this.#load();
  }

  /* Fetch the parameters of the model and show them as fields. */
  async #load() {
    const number = (this.latest += 1);
    const name = this.form.model;
    let found = { fields: null, reason: "", title: "", needs_prompt: true };
    try {
      if (IS_MODEL.test(name)) found = await ui.request(`/new/model?name=${encodeURIComponent(name)}`, { method: "GET" });
    } catch (error) {
      found.reason = error.message;
    }
    if (number !== this.latest) return;
    this.fields = found.fields;
    this.needsPrompt = found.needs_prompt;
    const reason = found.reason && `Its parameters are not known: ${found.reason}`;
    this.help.textContent = found.title || reason || "owner/name, as in the address of its page at the vendor.";
    this.#showFields();
    this.onChange();
  }

  #typed() {
    const text = this.input.value.trim();
    this.#search(text);
    if (text === this.form.model) return;
    this.form.model = text;
    this.#load();
  }

  async #search(text) {
    const number = (this.latestSearch += 1);
    const url = `/new/models?find=${encodeURIComponent(text)}`;
    const { models } = await ui.request(url, { method: "GET" }).catch(() => ({ models: [] }));
    if (number !== this.latestSearch) return;
    this.list.replaceChildren(...models.map(({ name, title }) => el("option", { value: name, label: title })));
  }

  #showFields() {
    const known = new Set((this.fields ?? []).map(({ name }) => name));
    const others = Object.keys(this.form.params).filter((name) => !known.has(name));
    const fields = [...(this.fields ?? []), ...others.map((name) => ({ name, label: name, kind: "text", options: [] }))];
    this.region.replaceChildren(...fields.map((field) => this.#field(field)));
    this.adder.hidden = this.fields !== null;
    this.region.closest("details").hidden = this.adder.hidden && fields.length === 0;
  }

  #field(field) {
    const id = `param-${field.name}`;
    const input = this.#input(field, id);
    input.addEventListener("input", () => {
      if (input.value === "") delete this.form.params[field.name];
      else this.form.params[field.name] = input.value;
      this.onChange();
    });
    const label = `${field.label}${field.is_required ? " (required)" : ""}`;
    return el("p", {}, el("label", { htmlFor: id, textContent: label }), input);
  }

  #input({ name, kind, options, min, max, step, is_required: isRequired, default: preset }, id) {
    const stored = this.form.params[name] ?? "";
    const value = typeof stored === "object" ? JSON.stringify(stored) : String(stored);
    if (options.length) {
      const nothing = isRequired ? "choose one" : "none";
      const none = el("option", { value: "", textContent: preset ? `default: ${preset}` : nothing });
      const all = options.includes(value) || !value ? options : [value, ...options];
      const select = el("select", { id }, none, ...all.map((text) => el("option", { value: text, textContent: text })));
      select.value = value;
      return select;
    }
    if (kind === "textarea") return el("textarea", { id, rows: 2, value, placeholder: preset ?? "", dir: "auto" });
    const input = el("input", { id, value, placeholder: preset ?? "", autocomplete: "off" });
    if (kind === "range") Object.assign(input, { type: "number", min, max, step: step || "any" });
    return input;
  }

  #add() {
    const field = this.adder.querySelector("input");
    const name = field.value.trim();
    if (!name) return;
    this.form.params[name] ??= "";
    field.value = "";
    this.#showFields();
    document.getElementById(`param-${name}`)?.focus();
  }
}
