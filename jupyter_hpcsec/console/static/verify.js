// Keeps the progress of a verification up to date, and shows its outcome once there is one. Without scripts the page
// asks again by itself.
"use strict";

const EVERY_MS = 1000;
const headers = { "X-XSRFToken": document.currentScript.dataset.xsrf };

async function look() {
  const answer = await fetch(location.href, { headers, credentials: "same-origin", redirect: "error" });
  if (!answer.ok) {
    throw new Error(String(answer.status));
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = page.getElementById("verification");
  document.getElementById("verification").replaceWith(document.adoptNode(now));
  return now.dataset.state === "running";
}

async function follow() {
  for (;;) {
    await new Promise((done) => setTimeout(done, EVERY_MS));
    try {
      if (!(await look())) {
        return;
      }
    } catch {
      location.reload();
      return;
    }
  }
}

follow();
