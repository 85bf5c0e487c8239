// Makes the home page live: what the server pushes, and what becomes of it.

import { catchUp, onHeads, onLog, sendPending } from "./console-chat.js";
import { byId, lightUp, onSwap, refresh } from "./console-page.js";
import { accessToken, socket } from "./console-socket.js";

const me = document.body.dataset.user;
const EVERY_MS = 60000;
const TOAST_MS = 8000;
const presence = new Map(); // user → status
const LOG = ["message:new", "message:updated", "message:deleted", "reaction:changed", "member:changed", "conversation:updated"];

for (const type of LOG) socket.on(type, (event) => onLog(type, event));
socket.on("connect", () => { refresh(); sendPending(); });
// First of all on each connection: what it tells is compared with what the page shows.
socket.on("session:ready", (hello) => { presence.clear(); onPresence(hello.presence); onHeads(hello.heads); });
socket.on("chat:heads", (event) => onHeads(event.heads));
socket.on("sync:required", () => { refresh(); catchUp(); });
socket.on("session:updated", refresh);
socket.on("churn:updated", (prediction) => lightUp(prediction.client_id));
socket.on("receipt", (event) => { if (event.user_id === me) refresh(); }); // read on another device
socket.on("presence", (event) => onPresence(event.users));
socket.on("notification:new", (notification) => toast(notification.title, notification.body));
socket.on("auth:expiring", () => accessToken().then((token) => socket.emit("auth:refresh", { token }, () => {}), () => {}));
socket.on("auth:revoked", () => location.assign("/sign-in"));

// The clock, the day, and what nobody pushes.
setInterval(() => { if (!document.hidden && socket.connected) refresh(); }, EVERY_MS);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
onSwap(showPresence);

function onPresence(users) {
  for (const user of users) presence.set(user.user_id, user.status);
  showPresence();
}

function showPresence() {
  for (const face of document.querySelectorAll(".face[data-person]")) {
    const status = presence.get(face.dataset.person) ?? "offline";
    if (status === "offline") delete face.dataset.presence;
    else face.dataset.presence = status;
  }
}

function toast(title, body) {
  const note = document.createElement("div");
  note.className = "toast";
  const heading = document.createElement("b");
  heading.textContent = title;
  note.append(heading, document.createElement("br"), body ?? "");
  byId("toasts").append(note);
  setTimeout(() => note.remove(), TOAST_MS);
}
