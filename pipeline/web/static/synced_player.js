"use strict";
/* Play several videos as one: they start, stop, seek and loop together, and stay in step with the longest. */
function syncedPlayer(media, onChange) {
  const MAX_DRIFT_S = 0.12;
  let frame = 0, isLooped = true;

  const leader = () => media.reduce((a, b) => ((b.duration || 0) > (a.duration || 0) ? b : a), media[0]);
  const duration = () => leader()?.duration || 0;
  const time = () => leader()?.currentTime ?? 0;
  const isPaused = () => leader()?.paused ?? true;

  function keepInStep() {
    for (const one of media) {
      const isBehind = Math.abs(one.currentTime - time()) > MAX_DRIFT_S && time() < (one.duration || 0);
      if (isBehind && !one.seeking) one.currentTime = time();
    }
    onChange();
    cancelAnimationFrame(frame);
    frame = isPaused() ? 0 : requestAnimationFrame(keepInStep);
  }

  function seek(seconds) {
    for (const one of media) one.currentTime = Math.min(seconds, one.duration || seconds);
    onChange();
  }

  function play() {
    if (leader()?.ended) seek(0);
    Promise.allSettled(media.map((one) => one.play())).then(keepInStep);
  }

  function pause() {
    for (const one of media) one.pause();
    if (media.length) seek(time());
  }

  function onEnded(event) {
    if (event.target !== leader()) return;
    if (isLooped) {
      seek(0);
      play();
    } else onChange();
  }

  for (const one of media) {
    one.addEventListener("ended", onEnded);
    one.addEventListener("loadedmetadata", onChange);
  }

  return {
    duration, time, isPaused, seek, play, pause,
    setLoop: (value) => { isLooped = value; },
    // Only one of several sound tracks is heard.
    setMuted: (value) => media.forEach((one, index) => { one.muted = value || index > 0; }),
  };
}
