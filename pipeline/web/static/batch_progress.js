"use strict";
/* Live status of a batch. The server renders it; this script fetches it again on each server-sent event, and every few
   seconds: events do not cover the account, and are not always available. */
(() => {
  const live = document.getElementById("live");
  const { id, api } = document.getElementById("batch").dataset;
  const url = `/batches/${encodeURIComponent(id)}/live${location.search}`;
  const POLL_MS = 3000, POLL_WITH_EVENTS_MS = 5000, POLL_ENDED_MS = 10000, RETRY_EVENTS_MS = 30000;
  let source = null, timer, isLoading = false, isStale = false, noEventsUntil = 0;

  const isOver = () => live.dataset.over === "true";
  const hasEvents = () => source !== null && source.readyState !== EventSource.CLOSED;

  function show(fresh) {
    const { version } = live.dataset;
    ui.patch(live, fresh);
    document.title = live.dataset.title;
    if (live.dataset.version !== version) document.dispatchEvent(new Event("progressed"));
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

  /* An ended batch can be opened again in another tab, so it is polled too. */
  function schedule() {
    clearTimeout(timer);
    if (!isOver() && !hasEvents() && Date.now() >= noEventsUntil) listen();
    const delay = isOver() ? POLL_ENDED_MS : hasEvents() ? POLL_WITH_EVENTS_MS : POLL_MS;
    timer = setTimeout(() => (document.hidden ? schedule() : refresh()), delay);
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
  schedule();
})();
