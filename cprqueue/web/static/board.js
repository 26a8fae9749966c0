// Live numbers. Without this script every page works; it only has to be loaded again by hand.
"use strict";

(function () {
  const EVERY_MS = 15000;
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function ago(moment) {
    const seconds = (Date.now() - moment) / 1000;
    const [unit, length] = UNITS.find(([, each]) => Math.abs(seconds) >= each) || UNITS[3];
    const value = Math.round(Math.abs(seconds) / length);
    const text = value + " " + unit + (value === 1 ? "" : "s");
    if (value === 0) return "now";
    return seconds < 0 ? "in " + text : text + " ago";
  }

  function refreshMoments() {
    for (const each of document.querySelectorAll("time[data-ago]")) {
      each.textContent = ago(Date.parse(each.dateTime));
    }
  }

  // Nobody loses what he types or reads with the keyboard: then the page waits.
  function isIdle() {
    const at = document.activeElement;
    return !at || at === document.body || at.id === "main";
  }

  function take(live, found) {
    if (found.version !== live.dataset.version) {
      if (isIdle()) location.reload();
      return;
    }
    for (const [name, text] of Object.entries(found.numbers)) {
      const place = live.querySelector('[data-number="' + name + '"]');
      if (place && place.textContent !== text) place.textContent = text;
    }
    const fetched = live.querySelector("[data-fetched] time");
    if (fetched && found.fetched_at) fetched.dateTime = found.fetched_at;
  }

  async function ask(live) {
    if (document.hidden) return;
    try {
      const answer = await fetch(live.dataset.live, { credentials: "same-origin" });
      if (answer.status === 401) location.reload();
      if (answer.ok) take(live, await answer.json());
    } catch (error) {
      // The board is away for a moment: the next time.
    }
  }

  const live = document.querySelector("[data-live]");
  setInterval(refreshMoments, EVERY_MS);
  if (live) {
    setInterval(() => ask(live), EVERY_MS);
    document.addEventListener("visibilitychange", () => ask(live));
  }
})();
