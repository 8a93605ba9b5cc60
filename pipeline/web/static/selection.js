"use strict";
/* Several items are selected, and reviewed, retried or downloaded together. */
const selection = (() => {
  const { element: grid, cards, cardOf, shownTake } = itemGrid;
  const bar = document.getElementById("selection");
  const DOWNLOAD_INTERVAL_MS = 400;
  let last = null;

  const box = (card) => card.querySelector("[data-select]");
  const selected = () => cards().filter((card) => box(card).checked);
  const takes = () => selected().map(shownTake);

  function show() {
    const number = selected().length;
    bar.hidden = number === 0;
    bar.querySelector("[data-selected]").textContent = `${number} selected`;
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

  /* Save the outputs, one file after the other: a browser ignores downloads that begin at once. */
  async function save() {
    const links = takes().map((take) => take.querySelector("[data-save]:not([hidden])")).filter(Boolean);
    if (!links.length) ui.notify("None of these items has an output.");
    for (const link of links) {
      link.click();
      await new Promise((done) => setTimeout(done, DOWNLOAD_INTERVAL_MS));
    }
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
