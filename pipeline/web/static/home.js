"use strict";
/* Updates the parts of the home page every few seconds while it is visible. */
(() => {
  const INTERVAL_MS = 5000;
  let isLoading = false;

  async function refresh() {
    if (isLoading || document.hidden) return;
    isLoading = true;
    const fresh = await ui.fetchPage(location.href);
    isLoading = false;
    if (fresh) ui.updateParts(fresh);
  }

  setInterval(refresh, INTERVAL_MS);
  document.addEventListener("changed", () => { document.activeElement?.blur(); refresh(); });
  document.addEventListener("visibilitychange", refresh);
})();
