"use strict";
/* Shows times in the zone of the viewer, and counts the time that is left down between two updates of the page. */
(() => {
  const pad = (number) => String(number).padStart(2, "0");
  const day = (time) => `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
  const clock = (time) => `${pad(time.getHours())}:${pad(time.getMinutes())}`;
  const zone = (time) => new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(time)
    .find((part) => part.type === "timeZoneName").value;

  function localText(element) {
    const time = new Date(element.dateTime);
    const { since } = element.dataset;
    if (since && day(new Date(since)) === day(time)) return clock(time);
    return `${day(time)} ${clock(time)} ${zone(time)}`;
  }

  /* As `duration` of pipeline/domain/formatting.py, in whole seconds. */
  const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
  function duration(seconds) {
    for (const [size, name, nextSize, nextName] of UNITS) {
      if (seconds < size) continue;
      const rest = Math.floor((seconds % size) / nextSize);
      return `${Math.floor(seconds / size).toLocaleString("en")} ${name}${rest ? ` ${rest} ${nextName}` : ""}`;
    }
    return `${seconds} s`;
  }

  /* As `time_left` of pipeline/domain/formatting.py. */
  function leftText(seconds) {
    return seconds > 0 ? `about ${duration(Math.ceil(seconds))}` : `${duration(Math.floor(-seconds))} longer than usual`;
  }

  const references = new WeakMap();
  function secondsLeft(element) {
    const sent = element.dataset.leftS;
    if (references.get(element)?.sent !== sent) references.set(element, { sent, at: performance.now() });
    return Number(sent) - (performance.now() - references.get(element).at) / 1000;
  }

  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function update() {
    for (const element of document.querySelectorAll("time[data-local]")) setText(element, localText(element));
    for (const element of document.querySelectorAll("[data-left-s]")) setText(element, leftText(secondsLeft(element)));
  }

  // An update of the page brings the texts of the server.
  new MutationObserver(update).observe(document.body, { childList: true, subtree: true, attributes: true,
    attributeFilter: ["datetime", "data-left-s"], characterData: true });
  setInterval(update, 1000);
  update();
})();
