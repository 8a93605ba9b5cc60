"use strict";
/* The item grid: its actions, and its updates while the batch runs. */
(() => {
  const grid = document.getElementById("item-grid");
  const { id, api } = document.getElementById("batch").dataset;
  const base = `/batches/${encodeURIComponent(id)}`;
  const isBatchPage = "query" in grid.dataset;
  const PAGE_SIZE = 48, MIN_INTERVAL_MS = 2000;
  let isLoading = false, isStale = false, loadedAt = 0, isExtended = false;

  const itemUrl = (card) => `${api}/items/${encodeURIComponent(card.dataset.item)}`;

  /* Whether a person types in a card or watches its video. Such a card is not updated. */
  const isInUse = (card) =>
    card.querySelector("form.take-form:not([hidden])") ||
    card.contains(document.activeElement) && document.activeElement.matches("input, textarea") ||
    Array.from(card.querySelectorAll("video")).some((video) => !video.paused);

  /* Replace `card` by `fresh`. The same button or video keeps the focus, and a video continues to play. */
  function replace(card, fresh) {
    const focused = card.contains(document.activeElement) ? document.activeElement : null;
    const videos = new Map(Array.from(card.querySelectorAll("video"), (video) => [video.src, video]));
    card.after(fresh);
    videoPreview.attach(fresh);
    for (const video of fresh.querySelectorAll("video")) {
      const old = videos.get(video.src);
      if (!old) continue;
      old.poster = video.poster;
      video.replaceWith(old);
    }
    card.remove();
    if (!focused) return;
    const { action, mark } = focused.dataset;
    const same = fresh.contains(focused) ? focused : Array.from(fresh.querySelectorAll("[data-action]")).find(
      (button) => button.dataset.action === action && button.dataset.mark === mark && !button.hidden,
    );
    (same ?? fresh.querySelector("button, a"))?.focus({ preventScroll: true });
  }

  /* Remove a card that no longer matches the filter. If it has the focus, the next card gets it. */
  function remove(card) {
    const next = card.nextElementSibling ?? card.previousElementSibling;
    if (card.contains(document.activeElement)) focusOn(next);
    card.remove();
  }

  const focusOn = (card) => (card?.querySelector(".frame:last-child video") ?? card?.querySelector(".actions button"))?.focus();

  /* Update the grid from `fresh`, card by card. */
  function merge(fresh) {
    const list = grid.querySelector("[data-item-list]");
    const freshList = fresh.querySelector("[data-item-list]");
    if (!list || !freshList) {
      grid.replaceChildren(...fresh.body.childNodes);
      videoPreview.attach(grid);
      return;
    }
    const known = new Map(Array.from(list.children, (card) => [card.dataset.item, card]));
    for (const card of Array.from(freshList.children)) {
      const old = known.get(card.dataset.item);
      known.delete(card.dataset.item);
      // The service sends a card that this page has as an empty element.
      if (!card.childElementCount) continue;
      if (!old) {
        list.append(card);
        videoPreview.attach(card);
      } else if (old.dataset.version !== card.dataset.version && !isInUse(old)) replace(old, card);
    }
    for (const card of known.values()) if (!isInUse(card)) remove(card);
    const pages = grid.querySelector("[data-pages]");
    const freshPages = fresh.querySelector("[data-pages]");
    if (pages && freshPages && !pages.contains(document.activeElement)) pages.replaceWith(freshPages);
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

  async function refreshCard(card) {
    const page = await ui.fetchPage(`${base}/items/${encodeURIComponent(card.dataset.item)}`);
    const fresh = page?.querySelector("[data-item]");
    if (!fresh) return;
    const number = card.querySelector(".card-header b");
    if (number) fresh.querySelector(".card-header").prepend(number, " ");
    replace(card, fresh);
  }

  /* One response searches a limited number of items. Continue until the page is full or all items were searched. */
  async function continueSearch() {
    let link = grid.querySelector("[data-filtered] [data-next]");
    const list = grid.querySelector("[data-item-list]");
    while (link && list && list.children.length < PAGE_SIZE) {
      const fresh = await ui.fetchPage(`${base}/item-grid${link.dataset.next}`);
      if (!fresh) return;
      isExtended = true;
      const cards = Array.from(fresh.querySelector("[data-item-list]")?.children ?? []);
      list.append(...cards);
      cards.forEach(videoPreview.attach);
      grid.querySelector("[data-pages]").replaceWith(fresh.querySelector("[data-pages]"));
      link = grid.querySelector("[data-filtered] [data-next]");
    }
    if (list && !list.children.length) {
      const empty = document.createElement("p");
      empty.className = "empty";
      empty.textContent = "No item matches. Search for other text, or in another state.";
      list.replaceWith(empty);
    }
  }

  async function post(card, url, body, message) {
    try {
      const result = await ui.request(url, { body: JSON.stringify(body) });
      ui.notify(typeof message === "function" ? message(result) : message);
    } catch (error) {
      ui.notify(error.message, true);
      return;
    }
    await refreshCard(card);
    ui.announceChange();
  }

  function review(card, mark, note) {
    const message = mark ? `${card.dataset.item}: ${mark}.` : `${card.dataset.item}: the review is removed.`;
    return post(card, `${itemUrl(card)}/review`, { mark, note }, message);
  }

  function retry(card, button) {
    if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
    const message = (result) => (result.reopened ? "The item is retried." : "The item has changed. Check its state.");
    post(card, `${itemUrl(card)}/retry`, { status: [button.dataset.status] }, message);
  }

  function toggleTakeForm(card, open) {
    const form = card.querySelector("form.take-form");
    const button = card.querySelector('[data-action="open-take-form"]');
    form.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    (open ? form.querySelector("textarea") : button).focus();
  }

  grid.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    const card = button?.closest("[data-item]");
    if (!card) return;
    const { action } = button.dataset;
    if (action === "review") {
      const isSet = button.getAttribute("aria-pressed") === "true";
      const note = card.querySelector("form.note input")?.value ?? "";
      review(card, isSet ? null : button.dataset.mark, isSet ? "" : note);
    } else if (action === "retry") retry(card, button);
    else if (action === "open-take-form") toggleTakeForm(card, card.querySelector("form.take-form").hidden);
    else if (action === "close-take-form") toggleTakeForm(card, false);
  });

  grid.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    const card = form.closest("[data-item]");
    const values = new FormData(form);
    document.activeElement.blur();
    if (form.dataset.action === "save-note") review(card, form.dataset.mark, values.get("note"));
    else {
      toggleTakeForm(card, false);
      post(card, `${itemUrl(card)}/again`, { prompt: values.get("prompt") }, (result) => `Created ${result.item}.`);
    }
  });

  /* Keys while an item has the focus: its buttons, and the items next to it. */
  const KEYS = { a: "[data-mark=approved]", r: "[data-mark=rejected]", n: "[data-action=open-take-form]" };
  grid.addEventListener("keydown", (event) => {
    const card = event.target.closest("[data-item]");
    const form = event.target.closest("form.take-form");
    if (form && event.key === "Escape") toggleTakeForm(card, false);
    if (!card || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
    const neighbour = { ArrowRight: card.nextElementSibling, ArrowLeft: card.previousElementSibling }[event.key];
    const button = KEYS[event.key] && card.querySelector(`.actions ${KEYS[event.key]}`);
    if (!neighbour && !button) return;
    event.preventDefault();
    button?.click();
    if (neighbour) focusOn(neighbour);
  });

  document.addEventListener("progressed", refresh);
  document.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", refresh);
  videoPreview.attach(grid);
  continueSearch();
})();
