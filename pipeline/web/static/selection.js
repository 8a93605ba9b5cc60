"use strict";
/* Several items are selected, and reviewed, retried or downloaded together. */
const selection = (() => {
  const { element: grid, cards, cardOf, shownTake } = itemGrid;
  const bar = document.getElementById("selection");
  const { api } = document.getElementById("batch").dataset;
  let last = null;

  const box = (card) => card.querySelector("[data-select]");
  const selected = () => cards().filter((card) => box(card).checked);
  const takes = () => selected().map(shownTake);

  function show() {
    const number = selected().length;
    bar.hidden = number === 0;
    bar.querySelector("[data-selected]").textContent = `${number} selected`;
    const retry = bar.querySelector("[data-selection=retry]");
    retry.textContent = reviews.retryLabel(takes());
    retry.hidden = !retry.textContent;
    for (const card of cards()) card.classList.toggle("is-selected", box(card).checked);
  }

  function select(chosen, isSelected = true) {
    for (const card of chosen) box(card).checked = isSelected;
    show();
  }

  function toggle(card) {
    last = card;
    select([card], !box(card).checked);
  }

  /* Select the cards from the one that was changed last, or from `start`, to `card`. */
  function extendTo(card, start = last) {
    const all = cards();
    const from = Math.max(0, all.indexOf(start ?? card)), to = all.indexOf(card);
    last ??= start;
    select(all.slice(Math.min(from, to), Math.max(from, to) + 1));
  }

  const clear = () => select(cards(), false);

  /* Save the outputs of the selected items: those of one item, or an archive of them all. */
  function save() {
    const saved = takes().filter((take) => take.dataset.outputs).map((take) => encodeURIComponent(take.dataset.item));
    if (saved.length) location.assign(`${api}/outputs.zip?item=${saved.join(",")}`);
    else ui.notify("None of these items has an output.");
  }

  /* Review the selected items, and end the selection. */
  function review(mark) {
    reviews.mark(takes(), mark);
    clear();
  }

  grid.addEventListener("click", (event) => {
    if (!event.target.matches("[data-select]")) return;
    const card = cardOf(event.target);
    if (event.shiftKey && last?.isConnected) extendTo(card);
    else show();
    last = card;
  });
  bar.addEventListener("click", (event) => {
    const { selection: action } = event.target.closest("button")?.dataset ?? {};
    if (action === "approved" || action === "rejected") review(action);
    else if (action === "retry") reviews.retry(takes())?.then(clear);
    else if (action === "save") save();
    else if (action === "clear") clear();
  });
  document.querySelector("[data-select-view]")?.addEventListener("click", () => select(itemGrid.cardsInView()));
  document.addEventListener("cards", show);

  return { toggle, extendTo, clear, review, isEmpty: () => bar.hidden };
})();
