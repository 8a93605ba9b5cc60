"use strict";
/* Live status of a batch. The server renders it; this script fetches it again on each server-sent event, and every few
   seconds: events do not cover the account, and are not always available. Nothing is sent for a batch that has ended,
   until the page is used again: what changes in this browser is announced, and other changes are found then. */
(() => {
  const live = document.getElementById("live");
  const { id, api } = document.getElementById("batch").dataset;
  const url = `/batches/${encodeURIComponent(id)}/live${location.search}`;
  const POLL_MS = 3000, POLL_WITH_EVENTS_MS = 10000, RETRY_EVENTS_MS = 30000;
  const FIRST_PREVIEW_WAIT_MS = 2000, LAST_PREVIEW_WAIT_MS = 128000;
  let source = null, timer, previewTimer, isLoading = false, isStale = false, noEventsUntil = 0;

  const isOver = () => live.dataset.over === "true";
  const hasEvents = () => source !== null && source.readyState !== EventSource.CLOSED;
  const awaitsPreviews = () => document.querySelector("[data-awaits-previews]") !== null;
  const announceProgress = () => document.dispatchEvent(new Event("progressed"));

  function show(fresh) {
    const { version } = live.dataset;
    ui.patch(live, fresh);
    document.title = live.dataset.title;
    if (live.dataset.version !== version || awaitsPreviews()) announceProgress();
  }

  async function refresh() {
    if (isLoading) {
      isStale = true;
      return;
    }
    isLoading = true;
    do {
      isStale = false;
      const page = await ui.fetchPage(url);
      if (page) show(page.getElementById("live"));
    } while (isStale);
    isLoading = false;
    schedule();
  }

  function schedule() {
    clearTimeout(timer);
    if (isOver()) {
      waitForPreviews(FIRST_PREVIEW_WAIT_MS);
      return;
    }
    if (!hasEvents() && Date.now() >= noEventsUntil) listen();
    const delay = hasEvents() ? POLL_WITH_EVENTS_MS : POLL_MS;
    timer = setTimeout(() => (document.hidden ? schedule() : refresh()), delay);
  }

  /* Previews are made after the items have ended: look for those that are awaited, a few times, less and less often. */
  function waitForPreviews(delay) {
    clearTimeout(previewTimer);
    if (delay > LAST_PREVIEW_WAIT_MS || !isOver()) return;
    previewTimer = setTimeout(() => {
      if (awaitsPreviews()) announceProgress();
      waitForPreviews(2 * delay);
    }, delay);
  }

  function listen() {
    source = new EventSource(`${api}/events`);
    source.addEventListener("progress", refresh);
    source.addEventListener("end", () => { source.close(); refresh(); });
    source.addEventListener("error", () => {
      // The browser reconnects after a lost connection, but not after an error status.
      if (source.readyState !== EventSource.CLOSED) return;
      noEventsUntil = Date.now() + RETRY_EVENTS_MS;
      schedule();
    });
  }

  document.addEventListener("changed", refresh);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  window.addEventListener("focus", () => { refresh(); announceProgress(); });
  schedule();
})();
