"use strict";
/* What a person decides about takes: review, undo, pick, note, retry, another take. */
const reviews = (() => {
  const { element: grid, cardOf, takes, shownTake, itemUrl } = itemGrid;
  const MAX_UNDO = 200;
  const undoable = [];
  const sending = new Map();

  const markOf = (take) => take.dataset.mark || null;
  const noteOf = (take) => take.querySelector("form.note input")?.value ?? "";
  const describe = (changes, what) =>
    changes.length === 1 ? `${changes[0].item}: ${what}.` : `${changes.length} items: ${what}.`;

  /* Show a review before the service has stored it. */
  function show(take, mark) {
    take.dataset.mark = mark ?? "";
    for (const button of take.querySelectorAll("[data-action=review]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
    }
  }

  /* Send one review. Reviews of the same item are sent one after the other. */
  function send({ item, mark, note }) {
    const body = JSON.stringify({ mark, note: mark ? note : "" });
    const sent = (sending.get(item) ?? Promise.resolve()).catch(() => {})
      .then(() => ui.request(`${itemUrl(item)}/review`, { body, keepalive: true }));
    sending.set(item, sent);
    return sent.finally(() => { if (sending.get(item) === sent) sending.delete(item); });
  }

  /* Send requests of several items, then update their cards. Returns whether all succeeded. */
  async function sendAll(items, request, message) {
    const changed = [...new Set(items.map(({ item }) => cardOf(itemGrid.findTake(item))))].filter(Boolean);
    for (const card of changed) card.dataset.sending = "true";
    const results = await Promise.allSettled(items.map(request));
    const failed = results.filter(({ status }) => status === "rejected");
    if (failed.length) {
      const rest = failed.length < items.length ? ` (${failed.length} of ${items.length} items)` : "";
      ui.notify(failed[0].reason.message + rest, true);
    } else ui.notify(typeof message === "function" ? message(results.map(({ value }) => value)) : message);
    for (const card of changed) {
      delete card.dataset.sending;
      card.dataset.version = "";
    }
    await itemGrid.refreshCards(changed);
    ui.announceChange();
    return !failed.length;
  }

  /* Apply changes [{take, mark}] as one step of undo. Those that change nothing are ignored. */
  function apply(changes, what) {
    const real = changes.filter(({ take, mark }) => markOf(take) !== mark && (take.dataset.outputs || !mark || markOf(take)));
    if (!real.length) return;
    undoable.push(real.map(({ take }) => ({ item: take.dataset.item, mark: markOf(take), note: noteOf(take) })));
    if (undoable.length > MAX_UNDO) undoable.shift();
    const wanted = real.map(({ take, mark }) => ({ item: take.dataset.item, mark, note: noteOf(take) }));
    real.forEach(({ take, mark }) => show(take, mark));
    sendAll(wanted, send, `${describe(wanted, what)} U undoes it.`);
  }

  const mark = (chosen, to) => apply(chosen.map((take) => ({ take, mark: to })), to ?? "the review is removed");

  /* Approve a take and reject the other takes of its item. */
  function pick(take) {
    const others = takes(cardOf(take)).filter((other) => other !== take && other.dataset.outputs);
    if (!take.dataset.outputs || !others.length) return;
    const changes = others.map((other) => ({ take: other, mark: "rejected" }));
    apply([{ take, mark: "approved" }, ...changes], `${take.dataset.item} is picked`);
  }

  async function undo() {
    const changes = undoable.pop();
    if (!changes) {
      ui.notify("There is nothing to undo on this page.");
      return;
    }
    for (const { item, mark: to } of changes) {
      const take = itemGrid.findTake(item);
      if (take) show(take, to);
    }
    const focus = () => itemGrid.focusOn(cardOf(itemGrid.findTake(changes[0].item)));
    const isHere = Boolean(itemGrid.findTake(changes[0].item));
    focus();
    await sendAll(changes, send, describe(changes, "the last review is undone"));
    // It may come back to a list that shows only items without a review.
    if (!isHere) document.addEventListener("cards", focus, { once: true });
  }

  /* Store a note that was changed. */
  async function saveNote(input) {
    const take = input.closest("[data-item]");
    const before = input.defaultValue;
    if (!take?.dataset.mark || input.value === before) return;
    input.defaultValue = input.value;
    const change = { item: take.dataset.item, mark: markOf(take), note: input.value };
    if (!await sendAll([change], send, `${change.item}: the note is stored.`)) input.defaultValue = before;
  }

  const retryable = (chosen) => chosen.filter((take) => ["failed", "unknown", "cancelled"].includes(take.dataset.state));

  /* What a retry costs at most, as text; '' if a price is not known. */
  function retryCost(ended) {
    const usd = ended.reduce((sum, take) => sum + Number(take.dataset.price || NaN), 0);
    return Number.isNaN(usd) ? "" : `$${usd.toFixed(2)}`;
  }

  /* The text of a button that retries these takes; '' if none can be. */
  function retryLabel(chosen) {
    const ended = retryable(chosen);
    const cost = retryCost(ended);
    return ended.length ? `Retry ${ended.length}, ${cost ? `up to ${cost}` : "price unknown"}` : "";
  }

  function retryQuestion(ended) {
    const usd = retryCost(ended);
    const cost = usd ? `It costs at most ${usd}.` : "The price is not known.";
    const isBilled = ended.some((take) => take.dataset.state === "unknown");
    const warning = isBilled ? " The vendor may have billed the runs already whose result is unknown." : "";
    return `Retry ${ended.length === 1 ? ended[0].dataset.item : `${ended.length} items`}? ${cost}${warning}`;
  }

  /* Retry those of the takes that have ended without an output, after a question. */
  function retry(chosen) {
    const ended = retryable(chosen);
    if (!ended.length || !confirm(retryQuestion(ended))) return;
    const items = ended.map((take) => ({ item: take.dataset.item, state: take.dataset.state }));
    const request = ({ item, state }) => ui.request(`${itemUrl(item)}/retry`, { body: JSON.stringify({ status: [state] }) });
    const message = (results) => {
      const retried = results.reduce((sum, { reopened }) => sum + reopened, 0);
      if (!retried) return "The item has changed. Check its state.";
      return items.length === 1 ? "The item is retried." : `Items that are retried: ${retried}.`;
    };
    return sendAll(items, request, message);
  }

  function toggleTakeForm(take, open) {
    const form = take.querySelector("form.take-form");
    form.hidden = !open;
    take.querySelector("[data-action=open-take-form]").setAttribute("aria-expanded", String(open));
    if (!open) {
      itemGrid.focusOn(cardOf(take));
      return;
    }
    ui.focusAtEnd(form.querySelector("textarea"));
  }

  async function createTake(form) {
    if (form.hidden) return;
    const take = form.closest("[data-item]");
    const card = cardOf(take);
    const { item } = take.dataset;
    const prompt = form.elements.prompt.value;
    toggleTakeForm(take, false);
    const isCreated = await sendAll(
      [{ item }],
      () => ui.request(`${itemUrl(item)}/again`, { body: JSON.stringify({ prompt }) }),
      ([{ item: created }]) => {
        itemGrid.chooseTake(card, created);
        return `Created ${created}.`;
      },
    );
    if (isCreated) form.reset();
  }

  grid.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    const card = cardOf(button);
    if (!card) return;
    const { action } = button.dataset;
    const take = button.closest("[data-item]") ?? shownTake(card);
    if (action === "review") mark([take], button.getAttribute("aria-pressed") === "true" ? null : button.dataset.mark);
    else if (action === "pick") pick(take);
    else if (action === "retry") retry([take]);
    else if (action === "show-take") itemGrid.chooseTake(card, button.dataset.take);
    else if (action === "open-take-form") toggleTakeForm(take, take.querySelector("form.take-form").hidden);
    else if (action === "close-take-form") toggleTakeForm(take, false);
  });

  grid.addEventListener("submit", (event) => {
    event.preventDefault();
    if (event.target.matches("form.note")) saveNote(event.target.querySelector("input"));
    else createTake(event.target);
  });

  const isNote = (element) => element?.matches?.("form.note input");
  grid.addEventListener("focusout", (event) => { if (isNote(event.target)) saveNote(event.target); });
  window.addEventListener("pagehide", () => { if (isNote(document.activeElement)) saveNote(document.activeElement); });

  return { mark, pick, undo, retry, retryLabel, toggleTakeForm };
})();
