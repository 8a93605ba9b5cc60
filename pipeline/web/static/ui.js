"use strict";
/* What every page of the dashboard uses: asking the API, telling the person, buttons that post, buttons that copy. */
const ui = (() => {
  const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
  const said = document.getElementById("said");
  const others = new BroadcastChannel("dailies");
  let quiet;

  /* Tell the person something, for as long as it takes to read. */
  function say(text, isTrouble = false) {
    clearTimeout(quiet);
    said.textContent = text;
    said.classList.toggle("trouble", isTrouble);
    quiet = setTimeout(() => { said.textContent = ""; }, isTrouble ? 12000 : 5000);
  }

  /* Ask the API. Answers its document; throws an Error with words for people, and `errors` where a manifest has them. */
  async function ask(url, { method = "POST", body, type = "application/json", headers = {} } = {}) {
    const sent = { method, headers: { Accept: "application/json", "X-CSRF-Token": csrf, ...headers } };
    if (method !== "GET") {
      sent.body = body ?? "{}";
      sent.headers["Content-Type"] = type;
    }
    let answer;
    try {
      answer = await fetch(url, sent);
    } catch {
      throw new Error("The service does not answer. It may be starting again; try once more in a moment.");
    }
    if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    const document_ = await answer.json().catch(() => ({}));
    if (answer.ok) return document_;
    throw Object.assign(new Error(document_.detail || `The service answered ${answer.status}.`), {
      status: answer.status,
      errors: document_.errors ?? [],
    });
  }

  /* A page, or a part of one, as a document; null when it cannot be had now. */
  async function page(url) {
    try {
      const answer = await fetch(url, { headers: { Accept: "text/html" } });
      if (answer.redirected && new URL(answer.url).pathname === "/login") location.assign(answer.url);
      return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
    } catch {
      return null;
    }
  }

  /* Take over from `fresh` the parts of this page that have changed there, but for those that are in use. */
  function freshen(fresh) {
    for (const part of document.querySelectorAll("[data-fresh]")) {
      const now = fresh.querySelector(`[data-fresh="${part.dataset.fresh}"]`);
      const inUse = part.contains(document.activeElement) || part.querySelector("details[open]");
      if (now && !inUse && now.innerHTML !== part.innerHTML) part.replaceChildren(...now.childNodes);
    }
  }

  /* Something was changed from here: this page and those in other tabs look again. */
  function changed() {
    others.postMessage("changed");
    document.dispatchEvent(new Event("changed"));
  }
  others.addEventListener("message", () => document.dispatchEvent(new Event("changed")));

  async function post(button) {
    if (button.dataset.sure && !confirm(button.dataset.sure)) return;
    button.disabled = true;
    try {
      const answer = await ask(button.dataset.post, { body: button.dataset.body });
      if ("reopened" in answer) say(answer.reopened ? `${answer.reopened} items go again.` : "There was nothing to try again.");
      else say(button.dataset.said || "Done.");
      changed();
    } catch (error) {
      say(error.message, true);
    } finally {
      button.disabled = false;
    }
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    } catch {
      say(text);
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-post], [data-copy]");
    if (button?.dataset.post) post(button);
    else if (button) copy(button.dataset.copy);
  });

  /* Menus close when the focus or a click goes elsewhere, and by Escape. */
  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(except)) menu.open = false;
  }
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenus(null); });

  return { ask, page, freshen, say, changed };
})();
