"use strict";
/* The pictures and videos of a contact sheet, on the dashboard and in the gallery. */
const film = (() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // A video is asked for its first picture when it comes near.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      target.preload = "metadata";
      near.unobserve(target);
    }
  }, { rootMargin: "400px" });

  /* What cannot be had says so in its frame. */
  function tell(media, what, when) {
    const frame = media.closest(".frame");
    if (!frame) return;
    media.addEventListener("error", () => { frame.dataset.trouble = `The ${what} cannot be shown.`; });
    media.addEventListener(when, () => { delete frame.dataset.trouble; });
    if (media.error || (media.complete && !media.naturalWidth)) media.dispatchEvent(new Event("error"));
  }

  // It plays while the pointer is on it, or when asked by tap or key; its controls show while they are of use.
  function watch(root) {
    for (const image of root.querySelectorAll("img")) tell(image, "picture", "load");
    for (const video of root.querySelectorAll("video")) {
      tell(video, "video", "loadedmetadata");
      near.observe(video);
      video.controls = false;
      video.tabIndex = 0;
      let hovers = false;
      video.addEventListener("pointerenter", (event) => {
        video.controls = true;
        if (event.pointerType !== "mouse" || still.matches || !video.paused) return;
        hovers = true;
        video.play().catch(() => {});
      });
      video.addEventListener("focus", () => { video.controls = true; });
      video.addEventListener("blur", () => { video.controls = !video.paused; });
      video.addEventListener("pointerdown", () => { hovers = false; });
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
        if (hovers) video.pause();
        hovers = false;
        if (video.paused && event.pointerType === "mouse") video.controls = document.activeElement === video;
      });
    }
  }

  return { watch };
})();
