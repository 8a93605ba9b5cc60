
(() => {
  const grid = document.getElementById("item-grid");
  const tools = document.getElementById("tools");
  const find = document.getElementById("find");
  const pagers = document.querySelectorAll("[data-pager]");
  const size = Number(grid.dataset.pageSize);
  let state = "", page = 0;

  // Each item as a line of HTML: first the items in the grid, then those in inert text.
  const lines = Array.from(grid.children, (item) => item.outerHTML);
  for (const script of document.querySelectorAll('script[type="text/html"]')) {
    for (const line of script.textContent.split("\n")) if (line) lines.push(line);
    script.remove();
  }

  const entities = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'", "#10": " ", "#13": " ", nbsp: "\u00a0" };
  const plainText = (line) =>
    line.replace(/<[^>]*>/g, " ").replace(/&(#?\w+);/g, (all, entity) => entities[entity] ?? all).toLowerCase();
  let texts = null;

  function matchingLines() {
    const text = find.value.trim().toLowerCase();
    if (text) texts ??= lines.map(plainText);
    if (!text && !state) return lines;
    const start = `<li class="item-card" data-state="${state}"`;
    return lines.filter((line, index) => (!state || line.startsWith(start)) && (!text || texts[index].includes(text)));
  }

  function show() {
    const matches = matchingLines();
    const pages = Math.max(1, Math.ceil(matches.length / size));
    page = Math.min(page, pages - 1);
    const first = page * size;
    grid.innerHTML = matches.slice(first, first + size).join("");
    showRange(matches.length, pages);
    videoPreview.attach(grid);
  }

  function showRange(count, pages) {
    const first = page * size;
    const last = Math.min(first + size, count);
    const number = (n) => n.toLocaleString("en");
    document.getElementById("shown").textContent = count
      ? `${number(first + 1)}–${number(last)} of ${number(count)}`
      : "No item matches. Choose another state or other text.";
    for (const pager of pagers) {
      pager.hidden = pages < 2;
      pager.querySelector("[data-turn='-1']").disabled = page === 0;
      pager.querySelector("[data-turn='1']").disabled = page >= pages - 1;
    }
  }

  function turnPage(by) {
    page += by;
    show();
    tools.scrollIntoView();
  }

  let searchTimer;
  find.addEventListener("input", () => {
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => { page = 0; show(); }, 200);
  });
  for (const button of tools.querySelectorAll("[data-state]")) {
    button.addEventListener("click", () => {
      state = button.dataset.state;
      for (const other of tools.querySelectorAll("[data-state]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      page = 0;
      show();
    });
  }
  for (const button of document.querySelectorAll("[data-turn]")) {
    button.addEventListener("click", () => turnPage(Number(button.dataset.turn)));
  }
  tools.hidden = false;
  showRange(lines.length, Math.ceil(lines.length / size) || 1);
  videoPreview.attach(grid);
})();
