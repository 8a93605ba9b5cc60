"use strict";
/* The lightbox: the take of one card, or all its takes side by side, as large as the window allows. */
const lightbox = (() => {
  const { element: grid, cardOf, takes, shownTake, outputUrl } = itemGrid;
  const dialog = document.getElementById("lightbox");
  const stage = dialog.querySelector(".stage");
  const slider = dialog.querySelector("input[type=range]");
  const button = (name) => dialog.querySelector(`[data-lightbox=${name}]`);
  const message = document.getElementById("message");
  const STEPS = Number(slider.max);
  let card = null, player = syncedPlayer([], () => {}), isComparing = false, isLooped = true, isMuted = true;

  const isOpen = () => dialog.open;
  const withOutputs = (of) => takes(of).filter((take) => take.dataset.outputs);
  const timeText = (s) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, "0")}`;

  /* An element that shows output `number` of a take. */
  function output(take, number, type) {
    const { item } = take.dataset;
    const [kind] = type.split("/");
    const element = document.createElement({ video: "video", image: "img", audio: "audio" }[kind] ?? "a");
    if (kind === "image") element.alt = `Output of ${item}`;
    else if (element.localName === "a") element.textContent = "Download the file";
    else {
      element.setAttribute("aria-label", `Output of ${item}`);
      element.playsInline = true;
    }
    const url = outputUrl(item, number);
    if (element.localName === "a") element.href = `${url}?save`;
    else element.src = url;
    return element;
  }

  function figure(take) {
    const element = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const name = document.createElement("span");
    name.dataset.of = take.dataset.item;
    caption.append(name);
    if (isComparing) {
      const pick = document.createElement("button");
      pick.type = "button";
      pick.textContent = `Pick take ${takes(card).indexOf(take) + 1}`;
      pick.addEventListener("click", () => reviews.pick(take));
      caption.append(pick);
    }
    const types = take.dataset.outputs.split(" ").filter(Boolean).slice(0, isComparing ? 1 : undefined);
    element.append(...types.map((type, number) => output(take, number, type)), caption);
    return element;
  }

  function showFacts() {
    if (!isOpen()) return;
    const take = shownTake(card);
    const all = itemGrid.cards();
    dialog.querySelector("#lightbox-title").textContent = take.dataset.item;
    dialog.querySelector("[data-facts]").textContent = `${all.indexOf(card) + 1} of ${all.length}`;
    dialog.querySelector(".prompt").textContent = take.querySelector(".prompt")?.textContent ?? "";
    for (const name of stage.querySelectorAll("[data-of]")) {
      const of = itemGrid.findTake(name.dataset.of);
      const number = takes(card).length > 1 ? `take ${takes(card).indexOf(of) + 1}` : "";
      name.textContent = [number, of?.dataset.mark].filter(Boolean).join(" · ");
    }
    for (const mark of ["approved", "rejected"]) button(mark).setAttribute("aria-pressed", String(take.dataset.mark === mark));
    button("take").textContent = take.querySelector("[data-action=open-take-form]").textContent;
    button("compare").hidden = withOutputs(card).length < 2;
    button("compare").setAttribute("aria-pressed", String(isComparing));
  }

  function showTime() {
    const [time, duration] = [player.time(), player.duration()];
    if (document.activeElement !== slider || !player.isPaused()) slider.value = duration ? Math.round(STEPS * time / duration) : 0;
    const text = `${timeText(time)} / ${timeText(duration)}`;
    slider.setAttribute("aria-valuetext", text);
    dialog.querySelector("output").textContent = text;
    button("play").textContent = player.isPaused() ? "Play" : "Pause";
  }

  /* Show a card. The videos begin to play. */
  function show(next, compare = false) {
    if (!withOutputs(next).length) {
      ui.notify(`${next.dataset.card} has no output yet.`);
      return;
    }
    card = next;
    isComparing = compare && withOutputs(card).length > 1;
    const shown = isComparing ? withOutputs(card) : [shownTake(card)];
    player.pause();
    stage.replaceChildren(...shown.map(figure));
    stage.dataset.columns = Math.min(shown.length, 3);
    player = syncedPlayer(Array.from(stage.querySelectorAll("video, audio")), showTime);
    player.setLoop(isLooped);
    player.setMuted(isMuted);
    itemGrid.cards().forEach(itemGrid.pause);
    if (!isOpen()) {
      // Messages are shown above the lightbox.
      dialog.append(message);
      dialog.showModal();
    }
    showFacts();
    showTime();
    player.play();
  }

  const toggleCompare = () => show(card, !isComparing);
  const togglePlay = () => (player.isPaused() ? player.play() : player.pause());

  function toggleLoop() {
    isLooped = !isLooped;
    player.setLoop(isLooped);
    button("loop").setAttribute("aria-pressed", String(isLooped));
  }

  function toggleMute() {
    isMuted = !isMuted;
    player.setMuted(isMuted);
    button("mute").setAttribute("aria-pressed", String(isMuted));
  }

  slider.addEventListener("input", () => player.seek(player.duration() * slider.value / STEPS));
  dialog.addEventListener("click", (event) => {
    const { lightbox: action } = event.target.closest("button")?.dataset ?? {};
    if (action === "close") dialog.close();
    else if (action === "play") togglePlay();
    else if (action === "loop") toggleLoop();
    else if (action === "mute") toggleMute();
    else if (action === "compare") toggleCompare();
  });
  dialog.addEventListener("close", () => {
    player.pause();
    stage.replaceChildren();
    document.body.append(message);
    if (!card.contains(document.activeElement)) itemGrid.focusOn(card);
  });
  grid.addEventListener("click", (event) => {
    const action = event.target.closest("[data-action]")?.dataset.action;
    if (action === "enlarge" || action === "compare") show(cardOf(event.target), action === "compare");
  });
  document.addEventListener("cards", showFacts);

  return { isOpen, show, card: () => card, isComparing: () => isComparing, togglePlay, close: () => dialog.close() };
})();
