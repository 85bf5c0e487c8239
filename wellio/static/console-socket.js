// The live connection, kept up for as long as the page is open: each time with a fresh token, for which the
// browser's session answers. `io` comes from the Socket.IO client, loaded before.

const csrf = document.querySelector('meta[name="csrf-token"]').content;

export async function accessToken() {
  const response = await fetch("/session/token", { method: "POST", headers: { "X-CSRF-Token": csrf } });
  if (response.status === 401) location.assign("/sign-in");
  if (!response.ok) throw new Error(`token: ${response.status}`);
  return (await response.json()).access_token;
}

export const socket = io({ auth: (give) => accessToken().then((token) => give({ token }), () => give({ token: "" })) });

export function showState(words) {
  const state = document.getElementById("link-state");
  state.hidden = false;
  state.classList.toggle("live", words === "Live");
  if (state.textContent !== words) state.textContent = words;
}

socket.on("connect", () => showState("Live"));

socket.on("disconnect", (reason) => {
  showState(navigator.onLine ? "Reconnecting…" : "Offline");
  if (reason === "io server disconnect") reconnectLater();
});

socket.on("connect_error", (error) => {
  showState(navigator.onLine ? "Reconnecting…" : "Offline");
  if (!socket.active) reconnectLater(error.data?.retry_after_ms); // refused: the client would not try again
});

function reconnectLater(wait = 2000) {
  setTimeout(() => socket.connect(), wait + Math.random() * 1000);
}

addEventListener("offline", () => showState("Offline"));
addEventListener("online", () => socket.connected && showState("Live"));
showState("Connecting…");
