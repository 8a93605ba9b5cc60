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
    if (!fresh) return;
    for (const part of document.querySelectorAll("[data-fresh]")) {
      const now = fresh.querySelector(`[data-fresh="${part.dataset.fresh}"]`);
      const inUse = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (now && !inUse && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
    }
  }

  setInterval(refresh, EVERY_MS);
  document.addEventListener("changed", () => { document.activeElement?.blur(); refresh(); });
  document.addEventListener("visibilitychange", refresh);
})();
