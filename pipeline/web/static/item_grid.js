"use strict";
/* The item grid: its cards, the current one, the take that each card shows, and updates while the batch runs. A card is
   updated in place, so that the focus, typed text and playing videos stay. */
const itemGrid = (() => {
  const grid = document.getElementById("item-grid");
  const { id, api } = document.getElementById("batch").dataset;
  const base = `/batches/${encodeURIComponent(id)}`;
  const isBatchPage = "query" in grid.dataset;
  const PAGE_SIZE = 48, MIN_INTERVAL_MS = 2000, MAX_SINGLE_CARDS = 4;
  const chosenTakes = new Map();
  const servedMedia = new WeakMap();
  let isLoading = false, isStale = false, loadedAt = 0, isExtended = false, marked = null;

  const cards = () => Array.from(grid.querySelectorAll("[data-card]"));
  const cardOf = (element) => element?.closest?.("[data-card]") ?? null;
  const takes = (card) => Array.from(card.querySelectorAll("[data-item]"));
  const shownTake = (card) => card.querySelector("[data-item]:not([hidden])");
  const findTake = (itemId) => grid.querySelector(`[data-item="${CSS.escape(itemId)}"]`);
  const itemUrl = (itemId) => `${api}/items/${encodeURIComponent(itemId)}`;
  const outputUrl = (itemId, number) => `${base}/items/${encodeURIComponent(itemId)}/outputs/${number}`;
  const videos = (card) => Array.from(shownTake(card).querySelectorAll("video"));
  const isPlaying = (card) => videos(card).some((video) => !video.paused);

  /* Whether a part of the card is visible; with `half`, whether the middle of its media is. */
  function isInView(card, half = false) {
    const { top, bottom } = (half ? shownTake(card).querySelector(".card-media") : card).getBoundingClientRect();
    return half ? top + bottom > 0 && top + bottom < 2 * innerHeight : bottom > 0 && top < innerHeight;
  }
  const cardsInView = () => cards().filter((card) => isInView(card, true));

  function mark(card) {
    if (card === marked) return;
    marked?.removeAttribute("aria-current");
    marked = card;
    marked?.setAttribute("aria-current", "true");
  }

  /* The card that keys act on: the one with the focus, else the marked one, unless only other cards are in view. */
  function current() {
    const focused = cardOf(document.activeElement);
    if (focused) return focused;
    if (!marked?.isConnected) mark(cards()[0] ?? null);
    if (!isCurrentSeen()) mark(cardsInView()[0]);
    return marked;
  }

  /* Whether a person can see which card is the current one. */
  const isCurrentSeen = () =>
    Boolean(cardOf(document.activeElement)) || !marked || isInView(marked) || !cardsInView().length;

  function focusOn(card) {
    if (!card) return;
    mark(card);
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "nearest" });
  }

  function play(card) {
    for (const video of videos(card)) video.play().catch(() => {});
  }

  function pause(card) {
    for (const video of card.querySelectorAll("video")) video.pause();
  }

  function showTake(card, itemId) {
    const all = takes(card);
    const shown = all.find((take) => take.dataset.item === itemId) ?? shownTake(card) ?? all[0];
    for (const take of all) take.hidden = take !== shown;
    for (const tab of card.querySelectorAll("[data-action=show-take]")) {
      tab.setAttribute("aria-pressed", String(tab.dataset.take === shown.dataset.item));
    }
  }

  /* Show a take of the card from now on, also one that is not there yet. */
  function chooseTake(card, itemId) {
    const wasPlaying = isPlaying(card);
    pause(card);
    chosenTakes.set(card.dataset.card, itemId);
    showTake(card, itemId);
    if (wasPlaying) play(card);
  }

  /* Keep the media as the server sent them, then add what scripts add. */
  function attach(root) {
    for (const media of root.querySelectorAll(".card-media")) if (!servedMedia.has(media)) servedMedia.set(media, media.outerHTML);
    videoPreview.attach(root);
  }

  function patchTake(take, fresh) {
    Object.assign(take.dataset, fresh.dataset);
    for (const part of [".take-text", ".actions", ".take-note"]) ui.patch(take.querySelector(part), fresh.querySelector(part));
    const note = take.querySelector("form.note input");
    if (note && note !== document.activeElement) note.value = note.defaultValue;
    const media = take.querySelector(".card-media");
    const freshMedia = fresh.querySelector(".card-media");
    if (servedMedia.get(media) === freshMedia.outerHTML) return;
    if (Array.from(media.querySelectorAll("video")).some((video) => !video.paused)) {
      // They are replaced by a later update, when the video has stopped.
      cardOf(take).dataset.version = "";
      return;
    }
    if (media.contains(document.activeElement)) cardOf(take).focus({ preventScroll: true });
    media.replaceWith(freshMedia);
  }

  function patchCard(card, fresh) {
    if (card.dataset.version === fresh.dataset.version || card.dataset.sending) return;
    card.dataset.version = fresh.dataset.version;
    const number = fresh.querySelector(".card-number");
    number.textContent ||= card.querySelector(".card-number").textContent;
    ui.patch(card.querySelector(".card-bar"), fresh.querySelector(".card-bar"));
    const old = new Map(takes(card).map((take) => [take.dataset.item, take]));
    for (const take of takes(fresh)) {
      if (old.has(take.dataset.item)) patchTake(old.get(take.dataset.item), take);
      else card.append(take);
    }
    attach(card);
    showTake(card, chosenTakes.get(card.dataset.card) ?? fresh.dataset.shown);
  }

  /* Whether a person types in a card or watches its video. Such a card is not removed. */
  const isInUse = (card) =>
    card.querySelector("form.take-form:not([hidden])") ||
    card.contains(document.activeElement) && document.activeElement.matches("input, textarea") ||
    isPlaying(card);

  /* Remove a card that no longer matches the filter. If it has the focus, the next card gets it. */
  function remove(card) {
    const next = card.nextElementSibling ?? card.previousElementSibling;
    if (card.contains(document.activeElement)) focusOn(next);
    else if (card === marked) mark(next);
    card.remove();
  }

  /* Update the grid from `fresh`, card by card. */
  function merge(fresh) {
    const list = grid.querySelector("[data-item-list]");
    const freshList = fresh.querySelector("[data-item-list]");
    if (list && freshList) {
      const known = new Map(Array.from(list.children, (card) => [card.dataset.card, card]));
      let previous = null;
      for (const card of Array.from(freshList.children)) {
        const old = known.get(card.dataset.card);
        known.delete(card.dataset.card);
        // The service sends a card that this page has as an empty element.
        if (!card.childElementCount) previous = old ?? previous;
        else if (old) patchCard(old, card);
        else if (previous) previous.after(card);
        else list.prepend(card);
        previous = old ?? card;
      }
      for (const card of known.values()) if (!isInUse(card)) remove(card);
      const pages = grid.querySelector("[data-pages]");
      if (!pages.contains(document.activeElement)) pages.replaceWith(fresh.querySelector("[data-pages]"));
    } else grid.replaceChildren(...fresh.body.childNodes);
    announce();
  }

  /* Prepare new cards, mark one if none is, and inform the other scripts. */
  function announce() {
    attach(grid);
    if (!marked?.isConnected) mark(cards()[0] ?? null);
    document.dispatchEvent(new Event("cards"));
  }

  async function refresh() {
    if (!isBatchPage || isExtended || document.hidden) return;
    if (isLoading) {
      isStale = true;
      return;
    }
    isLoading = true;
    await new Promise((done) => setTimeout(done, Math.max(0, loadedAt + MIN_INTERVAL_MS - Date.now())));
    const { query } = grid.dataset;
    const versions = Array.from(grid.querySelectorAll("[data-version]"), (card) => card.dataset.version);
    const headers = { "X-Known-Cards": versions.join() };
    const fresh = await ui.fetchPage(`${base}/item-grid${query ? `?${query}` : ""}`, headers);
    if (fresh) merge(fresh);
    loadedAt = Date.now();
    isLoading = false;
    if (isStale) {
      isStale = false;
      refresh();
    }
  }

  /* Update some cards: a few one by one, many with the grid. */
  function refreshCards(some) {
    const areMany = some.length > MAX_SINGLE_CARDS && isBatchPage && !isExtended;
    return areMany ? refresh() : Promise.all(some.map(refreshCard));
  }

  async function refreshCard(card) {
    const page = await ui.fetchPage(`${base}/items/${encodeURIComponent(card.dataset.card)}`);
    const fresh = page?.querySelector("[data-card]");
    if (!fresh) return;
    // The page of an item shows that item first, the grid the take that is shown now.
    fresh.dataset.shown = shownTake(card).dataset.item;
    patchCard(card, fresh);
    document.dispatchEvent(new Event("cards"));
  }

  /* One response searches a limited number of items. Continue until the page is full or all items were searched. */
  async function continueSearch() {
    let link = grid.querySelector("[data-filtered] [data-next]");
    const list = grid.querySelector("[data-item-list]");
    while (link && list && list.children.length < PAGE_SIZE) {
      const fresh = await ui.fetchPage(`${base}/item-grid${link.dataset.next}`);
      if (!fresh) return;
      isExtended = true;
      list.append(...Array.from(fresh.querySelector("[data-item-list]")?.children ?? []));
      grid.querySelector("[data-pages]").replaceWith(fresh.querySelector("[data-pages]"));
      link = grid.querySelector("[data-filtered] [data-next]");
      announce();
    }
    if (list && !list.children.length) {
      const empty = document.createElement("p");
      empty.className = "empty";
      empty.textContent = "No item matches. Search for other text, or in another state.";
      list.replaceWith(empty);
    }
  }

  /* Say how many items match: continue the count that the server began. */
  async function continueCount() {
    const element = document.getElementById("found");
    let found = Number(element?.dataset.found), next = element?.dataset.next;
    while (next) {
      const fresh = (await ui.fetchPage(`${base}/item-count${next}`))?.getElementById("found");
      if (!fresh) return;
      found += Number(fresh.dataset.found);
      next = fresh.dataset.next;
      element.textContent = `${found.toLocaleString("en")} ${found === 1 ? "item matches" : "items match"}${next ? " so far" : ""}.`;
    }
  }

  grid.addEventListener("focusin", (event) => { if (cardOf(event.target)) mark(cardOf(event.target)); });
  document.addEventListener("progressed", refresh);
  document.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", refresh);
  attach(grid);
  mark(cards()[0] ?? null);
  continueSearch();
  continueCount();

  return {
    element: grid, cards, cardsInView, cardOf, takes, shownTake, findTake, itemUrl, outputUrl, isCurrentSeen, current,
    focusOn, isPlaying, play, pause, chooseTake, refreshCards,
  };
})();
