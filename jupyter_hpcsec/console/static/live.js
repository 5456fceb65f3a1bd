// Live's table asks again by itself while the page is seen. Without this script the page is complete, and a reload asks.
"use strict";

const PAUSE_MS = 10000;
const state = document.getElementById("live-state");
const headers = { "X-XSRFToken": document.currentScript.dataset.xsrf };

function rowsUrl() {
  const url = new URL(window.location.href);
  url.pathname = url.pathname.replace(/live$/, "live/rows");
  return url;
}

async function refresh() {
  const old = document.getElementById("live-rows");
  if (document.hidden || old === null || old.contains(document.activeElement)) {
    return; // nobody looks, or somebody is about to press something there
  }
  try {
    const answer = await fetch(rowsUrl(), { headers, credentials: "same-origin", redirect: "error" });
    if (!answer.ok) {
      throw new Error(String(answer.status));
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live-rows");
    if (fresh === null) {
      throw new Error("no rows");
    }
    const left = old.scrollLeft;
    old.replaceWith(document.adoptNode(fresh));
    fresh.scrollLeft = left;
    state.textContent = "";
  } catch {
    state.textContent = "The table could not be renewed; reload the page.";
  }
}

window.setInterval(refresh, PAUSE_MS);
