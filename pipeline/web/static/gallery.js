"use strict";
/* The gallery page: its videos play as in the dashboard. Everything else works without a script. */
(() => {
  const grid = document.getElementById("item-grid");
  if (grid) videoPreview.attach(grid);
})();
