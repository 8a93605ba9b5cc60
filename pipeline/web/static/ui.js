"use strict";
/* Shared by all pages of the dashboard: API requests, messages, buttons that post or copy, menus. */
const ui = (() => {
  const csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";
  const message = document.getElementById("message");
  const otherTabs = new BroadcastChannel("dailies");
  const ERROR_MS = 12000, MESSAGE_MS = 5000;
  let hideTimer;

  /* Show a message for a few seconds. */
  function notify(text, isError = false) {
    clearTimeout(hideTimer);
    message.textContent = text;
    message.classList.toggle("is-error", isError);
    hideTimer = setTimeout(() => { message.textContent = ""; }, isError ? ERROR_MS : MESSAGE_MS);
  }

  /* Send a request to the API and return its JSON. Throws an Error with a message for people, and with `errors` if a
     manifest has some. `keepalive`: the request outlives the page. */
  async function request(url, { method = "POST", body, type = "application/json", headers = {}, keepalive = false } = {}) {
    const options = { method, keepalive, headers: { Accept: "application/json", "X-CSRF-Token": csrf, ...headers } };
    if (method !== "GET") {
      options.body = body ?? "{}";
      options.headers["Content-Type"] = type;
    }
    let response;
    try {
      response = await fetch(url, options);
    } catch {
      throw new Error("The service is not reachable. Try again in a moment.");
    }
    if (response.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname)}`);
    const json = await response.json().catch(() => ({}));
    if (response.ok) return json;
    throw Object.assign(new Error(json.detail || `The service returned status ${response.status}.`), {
      status: response.status,
      errors: json.errors ?? [],
    });
  }

  /* Fetch a page, or a part of one, as a document; null if it is unavailable. */
  async function fetchPage(url, headers = {}) {
    try {
      const response = await fetch(url, { headers: { Accept: "text/html", ...headers } });
      if (response.redirected && new URL(response.url).pathname === "/login") location.assign(response.url);
      return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
    } catch {
      return null;
    }
  }

  /* Make the element `old` equal to `fresh` in place: focus, open menus and CSS transitions stay. */
  function patch(old, fresh) {
    for (const { name } of Array.from(old.attributes)) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const children = Array.from(fresh.childNodes);
    children.forEach((child, index) => {
      const existing = old.childNodes[index];
      if (!existing) old.append(child);
      else if (existing.nodeName !== child.nodeName) existing.replaceWith(child);
      else if (child.nodeType === Node.ELEMENT_NODE) patch(existing, child);
      else if (existing.data !== child.data) existing.data = child.data;
    });
    while (old.childNodes.length > children.length) old.lastChild.remove();
  }

  /* Update the parts of this page from `fresh`, except the part that has the focus. */
  function updateParts(fresh) {
    for (const part of document.querySelectorAll("[data-part]")) {
      const freshPart = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (freshPart && !part.contains(document.activeElement)) patch(part, freshPart);
    }
  }

  /* Announce a change that was made here: this page and those in other tabs update. */
  function announceChange() {
    otherTabs.postMessage("changed");
    document.dispatchEvent(new Event("changed"));
  }
  otherTabs.addEventListener("message", () => document.dispatchEvent(new Event("changed")));

  async function post(button) {
    if (button.dataset.confirm && !confirm(button.dataset.confirm)) return;
    button.disabled = true;
    try {
      const result = await request(button.dataset.post, { body: button.dataset.body });
      if ("reopened" in result) notify(result.reopened ? `Items to retry: ${result.reopened}.` : "There is no item to retry.");
      else notify(button.dataset.success || "Done.");
      announceChange();
    } catch (error) {
      notify(error.message, true);
    } finally {
      button.disabled = false;
    }
  }

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      notify("Copied.");
    } catch {
      notify(text);
    }
  }

  /* Focus a text field with the caret behind its text. */
  function focusAtEnd(field) {
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  /* Ctrl+Enter (on a Mac Cmd+Enter) in a text sends its form. */
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches("form textarea")) return;
    event.preventDefault();
    if (!event.repeat) event.target.form.requestSubmit();
  });

  /* A draft of a new batch (new_batch/draft.js) is of the person who is signed in. */
  document.querySelector(".top form")?.addEventListener("submit", () => localStorage.removeItem("dailies.new-batch"));

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-post], [data-copy]");
    if (button?.dataset.post) post(button);
    else if (button) copy(button.dataset.copy);
  });

  /* A menu closes when the focus or a click goes elsewhere, and by Escape. */
  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(except)) menu.open = false;
  }
  document.addEventListener("click", (event) => closeMenus(event.target));
  document.addEventListener("focusin", (event) => closeMenus(event.target));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenus(null); });

  return { request, fetchPage, patch, updateParts, focusAtEnd, notify, announceChange };
})();
