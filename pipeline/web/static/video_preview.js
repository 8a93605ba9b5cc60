"use strict";
/* Images and videos of the item grid, in the dashboard and in the gallery. */
const videoPreview = (() => {
  const attached = new WeakSet();
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");

  /* Show an error in the frame if the media cannot be loaded. */
  function reportErrors(media, kind, loadedEvent) {
    const frame = media.closest(".frame");
    if (!frame) return;
    media.addEventListener("error", () => { frame.dataset.error = `The ${kind} cannot be loaded.`; });
    media.addEventListener(loadedEvent, () => { delete frame.dataset.error; });
    if (media.error || (media.complete && !media.naturalWidth)) media.dispatchEvent(new Event("error"));
  }

  /* Prepare what is not prepared yet. A video plays while the pointer is over it, or after a tap or key; its controls show only when they are useful. */
  function attach(root) {
    const isNew = (media) => !attached.has(media) && attached.add(media);
    for (const image of Array.from(root.querySelectorAll("img")).filter(isNew)) reportErrors(image, "image", "load");
    for (const video of Array.from(root.querySelectorAll("video")).filter(isNew)) {
      reportErrors(video, "video", "loadedmetadata");
      video.controls = false;
      video.tabIndex = 0;
      let playsOnHover = false;
      video.addEventListener("pointerenter", (event) => {
        video.controls = true;
        if (event.pointerType !== "mouse" || reducedMotion.matches || !video.paused) return;
        playsOnHover = true;
        video.play().catch(() => {});
      });
      video.addEventListener("focus", () => { video.controls = true; });
      video.addEventListener("blur", () => { video.controls = !video.paused; });
      video.addEventListener("pointerdown", () => { playsOnHover = false; });
      video.addEventListener("pointerup", (event) => {
        if (event.pointerType === "touch" && video.paused && video.currentTime === 0) video.play().catch(() => {});
      });
      video.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        if (video.paused) video.play().catch(() => {});
        else video.pause();
      });
      video.addEventListener("pointerleave", (event) => {
        if (playsOnHover) video.pause();
        playsOnHover = false;
        if (video.paused && event.pointerType === "mouse") video.controls = document.activeElement === video;
      });
    }
  }

  return { attach };
})();
