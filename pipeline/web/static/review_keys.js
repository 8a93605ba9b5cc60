"use strict";
/* The keys of the review. They work on the whole page, except where a person types. */
(() => {
  const { element: grid, cards, current, focusOn, shownTake } = itemGrid;
  const help = document.getElementById("keys");

  /* The card next to `card` in the direction of an arrow key; undefined at the edge. */
  function neighbour(card, key) {
    // The lightbox passes over items without an output.
    const all = cards().filter((other) => !lightbox.isOpen() || other === card || shownTake(other).dataset.outputs);
    const columns = cards().filter((other) => other.offsetTop === cards()[0].offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[key];
    return all[all.indexOf(card) + step];
  }

  /* Go on to another card. If the one before was playing, the next one plays. */
  function goTo(next, from) {
    if (!next) return;
    if (lightbox.isOpen()) {
      lightbox.show(next, lightbox.isComparing());
      return;
    }
    const wasPlaying = itemGrid.isPlaying(from);
    itemGrid.pause(from);
    focusOn(next);
    if (wasPlaying) itemGrid.play(next);
  }

  function goToNext(card, key = "ArrowRight") {
    const next = neighbour(card, key);
    if (next) goTo(next, card);
    else if (!lightbox.isOpen()) (key === "ArrowRight" && grid.querySelector("[rel=next]") || card).focus();
  }

  function review(card, mark) {
    if (!selection.isEmpty() && !lightbox.isOpen()) {
      selection.review(mark);
      return;
    }
    const take = shownTake(card);
    if (!take.dataset.outputs) ui.notify(`${take.dataset.item} has no output to review.`);
    else reviews.mark([take], mark);
    goToNext(card);
  }

  function togglePlay(card) {
    if (lightbox.isOpen()) lightbox.togglePlay();
    else if (itemGrid.isPlaying(card)) itemGrid.pause(card);
    else {
      card.scrollIntoView({ block: "nearest" });
      itemGrid.play(card);
    }
  }

  function openTakeForm(card) {
    if (lightbox.isOpen()) lightbox.close();
    focusOn(card);
    reviews.toggleTakeForm(shownTake(card), true);
  }

  function compare(card) {
    lightbox.show(card, !(lightbox.isOpen() && lightbox.isComparing()));
  }

  function playAllInView() {
    const inView = itemGrid.cardsInView();
    const isPlaying = inView.some(itemGrid.isPlaying);
    inView.forEach(isPlaying ? itemGrid.pause : itemGrid.play);
  }

  function showTake(card, number) {
    const take = itemGrid.takes(card)[number - 1];
    if (!take) return;
    itemGrid.chooseTake(card, take.dataset.item);
    if (lightbox.isOpen()) lightbox.show(card);
  }

  const KEYS = {
    a: (card) => review(card, "approved"),
    r: (card) => review(card, "rejected"),
    u: () => reviews.undo(),
    n: openTakeForm,
    p: (card) => reviews.pick(shownTake(card)),
    s: compare,
    v: playAllInView,
    x: (card) => selection.toggle(card),
    " ": togglePlay,
  };

  /* Whether the element uses a key itself: text fields use all of them, the slider arrows, controls Space and Enter. */
  function isUsedBy(element, key) {
    if (element.matches("textarea, select, input:not([type=checkbox], [type=range])")) return true;
    if (element.matches("[type=range]")) return key.startsWith("Arrow") || key === " ";
    return (key === " " || key === "Enter") && element.matches("a, button, summary, input");
  }

  function onFormKey(event) {
    const form = event.target.closest?.("form.take-form");
    if (!form) return false;
    if (event.key !== "Escape") return false;
    reviews.toggleTakeForm(form.closest("[data-item]"), false);
    event.preventDefault();
    return true;
  }

  /* Act on a key. Returns whether it is one of the keys. */
  function act(event, card) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const isArrow = key.startsWith("Arrow");
    // Up and down scroll the page until a card has the focus.
    const isInGrid = grid.contains(document.activeElement) || lightbox.isOpen();
    if (isArrow && !isInGrid) {
      if (key === "ArrowUp" || key === "ArrowDown") return false;
      goToNext(card, key);
    } else if (isArrow && event.shiftKey && !lightbox.isOpen()) {
      const next = neighbour(card, key);
      if (!next) return true;
      selection.extendTo(next, card);
      focusOn(next);
    } else if (isArrow) goToNext(card, key);
    else if (key === "Enter" && event.target === card) lightbox.show(card);
    else if (/^[1-9]$/.test(key)) showTake(card, Number(key));
    else if (KEYS[key] && !(event.shiftKey && key !== " ")) KEYS[key](card);
    else return false;
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || onFormKey(event) || help.open) return;
    if (event.ctrlKey || event.metaKey || event.altKey || isUsedBy(event.target, event.key)) return;
    if (event.key === "?") help.showModal();
    else if (event.key === "Escape") {
      if (!lightbox.isOpen()) selection.clear();
      return;
    } else {
      const isSeen = lightbox.isOpen() || itemGrid.isCurrentSeen();
      const card = lightbox.isOpen() ? lightbox.card() : current();
      // The last review can be undone when no item is left. A key that is held down only moves.
      if ((!card && event.key.toLowerCase() !== "u") || (event.repeat && !event.key.startsWith("Arrow"))) return;
      // A person must see which take a key acts on.
      if (!isSeen && "arnp".includes(event.key.toLowerCase())) focusOn(card);
      else if (!act(event, card)) return;
    }
    event.preventDefault();
  });

  document.getElementById("lightbox").addEventListener("click", (event) => {
    const { lightbox: action } = event.target.closest("button")?.dataset ?? {};
    const card = lightbox.card();
    if (action === "approved" || action === "rejected") review(card, action);
    else if (action === "take") openTakeForm(card);
    else if (action === "back") goToNext(card, "ArrowLeft");
    else if (action === "next") goToNext(card);
  });
  document.querySelector("[data-play-view]")?.addEventListener("click", playAllInView);
  document.querySelector("[data-show-keys]")?.addEventListener("click", () => help.showModal());
})();
