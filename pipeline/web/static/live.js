"use strict";
/* How a batch is doing, live: by server-sent events, by asking every few seconds where those are not to be had. */
(() => {
  const batch = document.getElementById("batch");
  const { api } = batch.dataset;
  const POLL_MS = 3000, REST_MS = 10000, TRY_EVENTS_MS = 30000, FRESHEN_MS = 5000;
  const ENDED = ["succeeded", "failed", "cancelled", "unknown"];
  const OVER = ["succeeded", "partial", "failed", "cancelled"];
  const WINDOW_MS = 600000;
  const bar = ["succeeded", "failed", "unknown", "cancelled", "collecting", "running", "submitting", "pending"];
  const live = (name) => batch.querySelector(`[data-live="${name}"]`);
  const number = (n) => n.toLocaleString("en");
  let last = "", marks = [], timer, source, noEventsUntil = 0;

  function dollars(text) {
    const [whole, cents = ""] = text.split(".");
    return Number(text) ? `$${Number(whole).toLocaleString("en")}.${cents.padEnd(2, "0")}` : "$0";
  }

  function duration(s) {
    if (s < 59.95) return `${s.toFixed(1).replace(/\.0$/, "")} s`;
    const whole = Math.round(s);
    for (const [size, name, next, nextName] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
      if (whole < size) continue;
      const rest = Math.floor((whole % size) / next);
      return `${Math.floor(whole / size)} ${name}${rest ? ` ${rest} ${nextName}` : ""}`;
    }
    return "";
  }

  /* Items a minute over the last ten minutes that were watched, from the start of the batch where that is nearer. */
  function speed(ended, now) {
    if (marks.length && ended < marks[marks.length - 1][1]) marks = [];
    if (!marks.length) marks.push([Math.max(Date.parse(batch.dataset.created), now - WINDOW_MS), 0]);
    if (ended > marks[marks.length - 1][1]) marks.push([now, ended]);
    while (marks.length > 2 && marks[1][0] < now - WINDOW_MS) marks.shift();
    const [since, before] = marks[0];
    return ended > before ? (60000 * (ended - before)) / Math.max(now - since, 1) : 0;
  }

  function draw(counts, total) {
    const svg = live("bar").querySelector("svg");
    let start = 0;
    svg.replaceChildren(...bar.filter((state) => counts[state]).map((state) => {
      const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const width = (100 * counts[state]) / Math.max(total, 1);
      part.setAttribute("class", state);
      part.setAttribute("x", `${start}%`);
      part.setAttribute("width", `${width}%`);
      part.setAttribute("height", "10");
      start += width;
      return part;
    }));
    return svg;
  }

  function showFigures(row, ended, over, now) {
    const perMinute = speed(ended, now);
    const took = row.finished ? (Date.parse(row.finished) - Date.parse(row.created)) / 1000 : null;
    const rate = over && took ? (60 * ended) / took : perMinute;
    live("speed").textContent = rate ? rate.toFixed(1) : "–";
    if (rate) live("speed").insertAdjacentHTML("beforeend", " <small>a minute</small>");
    live("clock-name").textContent = over ? "Took" : "Time left";
    const left = !over && row.status !== "paused" && perMinute ? (60 * (row.total - ended)) / perMinute : null;
    live("clock").textContent = over && took !== null ? duration(took) : left === null ? "–" : `about ${duration(Math.ceil(left))}`;
  }

  function showButtons(row, over) {
    for (const button of batch.querySelectorAll("[data-when]")) {
      button.hidden = !button.dataset.when.split(" ").includes(row.status);
    }
    for (const button of batch.querySelectorAll("[data-has]")) button.hidden = !row.counts[button.dataset.has];
    batch.querySelector("[data-over]").hidden = !over;
  }

  function showCounts(row) {
    for (const count of document.querySelectorAll("[data-count]")) {
      const state = count.dataset.count;
      const value = state ? row.counts[state] ?? 0 : row.total;
      count.textContent = number(value);
      if (state) count.parentElement.hidden = !value && !count.parentElement.hasAttribute("aria-current");
    }
  }

  function show(row) {
    const over = OVER.includes(row.status);
    const ended = ENDED.reduce((sum, state) => sum + (row.counts[state] ?? 0), 0);
    live("status").textContent = row.status;
    live("status").className = `chip ${row.status}`;
    live("reason").textContent = row.reason ?? "";
    live("reason").hidden = !row.reason;
    live("ended").textContent = number(ended);
    live("total").textContent = number(row.total);
    live("cost").textContent = dollars(row.cost_usd);
    live("revision").textContent = row.revision;
    draw(row.counts, row.total).setAttribute("aria-label", `${number(ended)} of ${number(row.total)} items ended`);
    showFigures(row, ended, over, Date.now());
    showButtons(row, over);
    showCounts(row);
    const text = JSON.stringify([row.counts, row.revision]);
    const progressed = last && text !== last;
    if (over !== (batch.dataset.over === "true") || (over && progressed)) freshen();
    batch.dataset.over = String(over);
    batch.dataset.status = row.status;
    document.title = `${over ? row.status : `${number(ended)}/${number(row.total)}`} · ${row.id} · Dailies`;
    if (progressed) document.dispatchEvent(new Event("progressed"));
    last = text;
  }

  /* What no event tells: the timeline, and whether the account takes runs. */
  async function freshen() {
    const fresh = document.hidden ? null : await ui.page(`/batches/${encodeURIComponent(batch.dataset.id)}/now${location.search}`);
    if (fresh) ui.freshen(fresh);
  }
  setInterval(() => { if (batch.dataset.over !== "true") freshen(); }, FRESHEN_MS);
  document.addEventListener("changed", () => {
    // A button that has done its work goes with its notice.
    document.querySelector("[data-fresh] :focus")?.blur();
    freshen();
  });

  /* Ask once, then go on as is best: an ended batch may be opened again by another tab, so it is asked now and then. */
  async function poll() {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        show(await ui.ask(api, { method: "GET" }));
      } catch {
        // The service is away: what is shown stays, and the next time it may be there.
      }
    }
    const over = batch.dataset.over === "true";
    if (!over && Date.now() >= noEventsUntil) listen();
    else timer = setTimeout(poll, over ? REST_MS : POLL_MS);
  }

  function listen() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(`${api}/events`);
    source.addEventListener("progress", (event) => show(JSON.parse(event.data)));
    source.addEventListener("end", () => { source.close(); timer = setTimeout(poll, REST_MS); });
    source.addEventListener("error", () => {
      // A cut connection is opened again by the browser itself; a refused one is not.
      if (source.readyState !== EventSource.CLOSED) return;
      noEventsUntil = Date.now() + TRY_EVENTS_MS;
      timer = setTimeout(poll, POLL_MS);
    });
  }

  document.addEventListener("changed", () => { if (source?.readyState !== EventSource.OPEN) poll(); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && source?.readyState !== EventSource.OPEN) poll();
  });
  poll();
})();
