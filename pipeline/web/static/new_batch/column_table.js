/* The columns of a dropped file of rows: what each one means, and which ones are ignored. */
import { el } from "./dom.js";

export class ColumnTable {
  /* `onIgnore` is called with the names of the ignored columns, `onRemove` when the file is removed. */
  constructor(region, { onIgnore, onRemove }) {
    Object.assign(this, { region, onIgnore, onRemove });
  }

  /* Show a table: the answer of /new/rows with the name of its `file`. `canChange`: the file itself is here. */
  show(table, canChange) {
    this.region.hidden = !table;
    if (!table) return;
    const remove = el("button", { type: "button", className: "plain", textContent: "Remove the rows" });
    remove.addEventListener("click", this.onRemove);
    const head = el("tr", {}, ...["Column", "Means", "Ignore"].map((text) => el("th", { scope: "col", textContent: text })));
    const count = `: ${table.count.toLocaleString("en")} ${table.count === 1 ? "row" : "rows"}`;
    const caption = `${table.file}${table.errors.length ? "" : count}`;
    // What is wrong with a column stands in its row.
    const shown = new Set(table.columns.map(({ meaning }) => meaning));
    const errors = table.errors.filter(({ message }) => !shown.has(message));
    const rows = table.columns.map((column, index) => this.#row(column, index, canChange));
    this.region.replaceChildren(
      el("table", { className: "columns" },
        el("caption", { textContent: caption }), el("thead", {}, head), el("tbody", {}, ...rows)),
      ...table.notes.map((text) => el("p", { className: "muted", textContent: text })),
      ...errors.map(({ line, message }) => el("p", { className: "error", textContent: `Line ${line}: ${message}` })),
      ...(canChange ? [] : [el("p", { className: "muted", textContent: "To change the columns, drop the file again." })]),
      remove,
    );
  }

  #row(column, index, canChange) {
    const name = el("th", { scope: "row" }, el("bdi", { textContent: column.header || "(no name)" }));
    const meaning = el("td", { className: column.is_wrong ? "error" : "", textContent: column.meaning });
    const cell = el("td");
    if (column.can_be_ignored && column.header) {
      const box = el("input", { type: "checkbox", id: `ignore-${index}`, checked: column.is_ignored, disabled: !canChange });
      box.ariaLabel = `Ignore ${column.header}`;
      box.dataset.column = column.header;
      box.addEventListener("change", () => this.onIgnore(this.#ignored()));
      cell.append(box);
    }
    return el("tr", {}, name, meaning, cell);
  }

  #ignored() {
    return [...this.region.querySelectorAll("input:checked")].map((box) => box.dataset.column);
  }
}
