"use strict";
/* The list of batches stays fresh: its parts are read again every few seconds, while somebody looks. */
(() => {
  const EVERY_MS = 5000;
  let busy = false;

  async function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    const fresh = await ui.page(location.href);
    busy = false;
    if (fresh) ui.freshen(fresh);
  }

  setInterval(refresh, EVERY_MS);
  document.addEventListener("changed", () => { document.activeElement?.blur(); refresh(); });
  document.addEventListener("visibilitychange", refresh);
})();
