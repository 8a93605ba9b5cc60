
(() => {
  const sheet = document.getElementById("sheet");
  const tools = document.getElementById("tools");
  const find = document.getElementById("find");
  const back = document.getElementById("back");
  const on = document.getElementById("on");
  const size = Number(sheet.dataset.page);
  let state = "", page = 0;

  // Every item as a line of HTML: those on the sheet, then those that wait as inert text.
  const lines = Array.from(sheet.children, (item) => item.outerHTML);
  for (const script of document.querySelectorAll('script[type="text/html"]')) {
    for (const line of script.textContent.split("\n")) if (line) lines.push(line);
    script.remove();
  }

  const signs = { amp: "&", lt: "<", gt: ">", quot: '"', "#x27": "'", "#10": " ", "#13": " ", nbsp: "\u00a0" };
  const plain = (line) =>
    line.replace(/<[^>]*>/g, " ").replace(/&(#?\w+);/g, (all, sign) => signs[sign] ?? all).toLowerCase();
  let words = null;

  function wanted() {
    const text = find.value.trim().toLowerCase();
    if (text) words ??= lines.map(plain);
    if (!text && !state) return lines;
    const start = `<li class="take" data-state="${state}"`;
    return lines.filter((line, at) => (!state || line.startsWith(start)) && (!text || words[at].includes(text)));
  }

  function show() {
    const found = wanted();
    const pages = Math.max(1, Math.ceil(found.length / size));
    page = Math.min(page, pages - 1);
    const first = page * size;
    sheet.innerHTML = found.slice(first, first + size).join("");
    tell(found.length, pages);
    film.watch(sheet);
  }

  function tell(count, pages) {
    const first = page * size;
    const last = Math.min(first + size, count);
    const number = (n) => n.toLocaleString("en");
    document.getElementById("shown").textContent = count
      ? `${number(first + 1)}–${number(last)} of ${number(count)}`
      : "Nothing is like that. Choose another state or other words.";
    tools.querySelector("nav").hidden = pages < 2;
    back.disabled = page === 0;
    on.disabled = page >= pages - 1;
  }

  function turn(by) {
    page += by;
    show();
    tools.scrollIntoView();
  }

  let soon;
  find.addEventListener("input", () => {
    clearTimeout(soon);
    soon = setTimeout(() => { page = 0; show(); }, 200);
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
  back.addEventListener("click", () => turn(-1));
  on.addEventListener("click", () => turn(1));
  tools.hidden = false;
  tell(lines.length, Math.ceil(lines.length / size) || 1);
  film.watch(sheet);
})();
