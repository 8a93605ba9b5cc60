"use strict";
/* The contact sheet: its buttons, and its takes as they come in. */
(() => {
  const sheet = document.getElementById("sheet");
  const { id, api } = document.getElementById("batch").dataset;
  const base = `/batches/${encodeURIComponent(id)}`;
  const isPage = "query" in sheet.dataset;
  const PAGE = 48, AT_MOST_EVERY_MS = 2000, STEP_MS = 5000;
  let looking = false, again = false, lookedAt = 0, extended = false;

  const itemUrl = (item) => `${api}/items/${encodeURIComponent(item.dataset.item)}`;

  /* Whether a person is at work on a card: what they write or watch is left alone. */
  const inUse = (card) =>
    card.querySelector("form.again:not([hidden])") ||
    card.contains(document.activeElement) && document.activeElement.matches("input, textarea") ||
    Array.from(card.querySelectorAll("video")).some((video) => !video.paused);

  /* Put `fresh` where `card` is; the focus stays on the same button or video, and a video goes on playing. */
  function replace(card, fresh) {
    const focused = card.contains(document.activeElement) ? document.activeElement : null;
    const videos = new Map(Array.from(card.querySelectorAll("video"), (video) => [video.src, video]));
    card.after(fresh);
    film.watch(fresh);
    for (const video of fresh.querySelectorAll("video")) {
      const old = videos.get(video.src);
      if (old) video.replaceWith(old);
    }
    card.remove();
    if (!focused) return;
    const { do: does, mark } = focused.dataset;
    const same = fresh.contains(focused) ? focused : Array.from(fresh.querySelectorAll("[data-do]")).find(
      (button) => button.dataset.do === does && button.dataset.mark === mark && !button.hidden,
    );
    (same ?? fresh.querySelector("button, a"))?.focus({ preventScroll: true });
  }

  /* A card that is not looked for any more goes; whoever was on it is on the next one. */
  function leave(card) {
    const next = card.nextElementSibling ?? card.previousElementSibling;
    if (card.contains(document.activeElement)) focusOn(next);
    card.remove();
  }

  const focusOn = (card) => (card?.querySelector(".frame:last-child video") ?? card?.querySelector(".actions button"))?.focus();

  /* Take over what has changed on the sheet, card by card. */
  function merge(fresh) {
    const list = sheet.querySelector("[data-sheet]");
    const freshList = fresh.querySelector("[data-sheet]");
    if (!list || !freshList) {
      sheet.replaceChildren(...fresh.body.childNodes);
      film.watch(sheet);
      return;
    }
    const known = new Map(Array.from(list.children, (card) => [card.dataset.item, card]));
    for (const card of Array.from(freshList.children)) {
      const old = known.get(card.dataset.item);
      known.delete(card.dataset.item);
      if (!old) {
        list.append(card);
        film.watch(card);
      } else if (old.dataset.version !== card.dataset.version && !inUse(old)) replace(old, card);
    }
    for (const gone of known.values()) if (!inUse(gone)) leave(gone);
    const pages = sheet.querySelector("[data-pages]");
    const freshPages = fresh.querySelector("[data-pages]");
    if (pages && freshPages && !pages.contains(document.activeElement)) pages.replaceWith(freshPages);
  }

  async function refresh() {
    if (!isPage || extended || document.hidden) return;
    if (looking) {
      again = true;
      return;
    }
    looking = true;
    await new Promise((done) => setTimeout(done, Math.max(0, lookedAt + AT_MOST_EVERY_MS - Date.now())));
    const query = sheet.dataset.query;
    const fresh = await ui.page(`${base}/sheet${query ? `?${query}` : ""}`);
    if (fresh) merge(fresh);
    lookedAt = Date.now();
    looking = false;
    if (again) {
      again = false;
      refresh();
    }
  }

  async function refreshCard(card) {
    const fresh = await ui.page(`${base}/items/${encodeURIComponent(card.dataset.item)}`);
    const now = fresh?.querySelector("[data-item]");
    if (!now) return;
    const number = card.querySelector(".edge b");
    if (number) now.querySelector(".edge").prepend(number, " ");
    replace(card, now);
  }

  /* A search looks at so many items a time: it goes on until the page is full, or all were looked at. */
  async function searchOn() {
    let link = sheet.querySelector("[data-filtered] [data-next]");
    let list = sheet.querySelector("[data-sheet]");
    while (link && list && list.children.length < PAGE) {
      const fresh = await ui.page(`${base}/sheet${link.dataset.next}`);
      if (!fresh) return;
      extended = true;
      const more = fresh.querySelector("[data-sheet]")?.children ?? [];
      const cards = Array.from(more);
      list.append(...cards);
      cards.forEach(film.watch);
      sheet.querySelector("[data-pages]").replaceWith(fresh.querySelector("[data-pages]"));
      link = sheet.querySelector("[data-filtered] [data-next]");
    }
    if (list && !list.children.length) {
      const none = document.createElement("p");
      none.className = "empty";
      none.textContent = "No item is like that. Look for other words, or in another state.";
      list.replaceWith(none);
    }
  }

  async function act(card, url, body, said) {
    try {
      const answer = await ui.ask(url, { body: JSON.stringify(body) });
      ui.say(typeof said === "function" ? said(answer) : said);
    } catch (error) {
      ui.say(error.message, true);
      return;
    }
    await refreshCard(card);
    ui.changed();
  }

  function review(card, mark, note) {
    const words = mark ? `${card.dataset.item}: ${mark}.` : `${card.dataset.item}: the verdict is taken back.`;
    return act(card, `${itemUrl(card)}/review`, { mark, note }, words);
  }

  const openAgain = (card, open) => {
    const form = card.querySelector("form.again");
    const button = card.querySelector('[data-do="open-again"]');
    form.hidden = !open;
    button.setAttribute("aria-expanded", String(open));
    (open ? form.querySelector("textarea") : button).focus();
  };

  sheet.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    const card = button?.closest("[data-item]");
    if (!card) return;
    const note = card.querySelector("form.note input")?.value ?? "";
    if (button.dataset.do === "review") {
      const isSet = button.getAttribute("aria-pressed") === "true";
      review(card, isSet ? null : button.dataset.mark, isSet ? "" : note);
    } else if (button.dataset.do === "retry") act(card, `${itemUrl(card)}/retry`, {}, "It goes again.");
    else if (button.dataset.do === "open-again") openAgain(card, card.querySelector("form.again").hidden);
    else if (button.dataset.do === "close-again") openAgain(card, false);
  });

  sheet.addEventListener("submit", (event) => {
    event.preventDefault();
    const form = event.target;
    const card = form.closest("[data-item]");
    const values = new FormData(form);
    document.activeElement.blur();
    if (form.dataset.do === "note") review(card, form.dataset.mark, values.get("note"));
    else {
      openAgain(card, false);
      act(card, `${itemUrl(card)}/again`, { prompt: values.get("prompt") }, (answer) => `${answer.item} is on its way.`);
    }
  });

  /* Keys, while the focus is on a take: its buttons, and the takes beside it. */
  const KEYS = { a: "[data-mark=approved]", r: "[data-mark=rejected]", n: "[data-do=open-again]" };
  sheet.addEventListener("keydown", (event) => {
    const card = event.target.closest("[data-item]");
    const form = event.target.closest("form.again");
    if (form && event.key === "Escape") openAgain(card, false);
    if (!card || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea")) return;
    const beside = { ArrowRight: card.nextElementSibling, ArrowLeft: card.previousElementSibling }[event.key];
    const button = KEYS[event.key] && card.querySelector(`.actions ${KEYS[event.key]}`);
    if (!beside && !button) return;
    event.preventDefault();
    button?.click();
    if (beside) focusOn(beside);
  });

  document.addEventListener("progressed", refresh);
  document.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, STEP_MS);
  film.watch(sheet);
  searchOn();
})();
