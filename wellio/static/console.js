"use strict";
// Makes the home page live. The server's HTML is the truth: what can be rendered there is fetched again and
// swapped in; only messages are added here. A conversation's log is numbered without holes, so the rule is:
// the next number is applied, an older one is ignored, a later one means that something was missed.

const me = document.body.dataset.user;
const zone = document.body.dataset.zone;
const csrf = document.querySelector('meta[name="csrf-token"]').content;
const byId = (id) => document.getElementById(id);

// ------------------------------------------------------------------ the page's parts, fetched again

const REFRESH_MS = 1000;
let refreshing = null;
let refreshAgain = false;
let lastRefresh = 0;
// Part → its HTML as the server last sent it.
const served = new Map([...document.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part.innerHTML]));
const changed = new Set(); // clients whose row is to light up
const LIT_MS = 2500;

async function fetchPage(address) {
  const response = await fetch(address, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (response.redirected) location.assign(response.url); // the session has ended
  if (!response.ok || response.redirected) throw new Error(`page: ${response.status}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

/** Swaps in what the server says now, at most once a second however much happens. */
function refresh() {
  if (refreshing) {
    refreshAgain = true;
    return;
  }
  const wait = Math.max(0, lastRefresh + REFRESH_MS - Date.now());
  refreshing = setTimeout(async () => {
    try {
      swapParts(await fetchPage(location.href));
    } catch { /* offline: the next connection refreshes */ }
    lastRefresh = Date.now();
    refreshing = null;
    if (refreshAgain) {
      refreshAgain = false;
      refresh();
    }
  }, wait);
}

function swapParts(page) {
  const focused = document.activeElement?.id;
  const before = rowPlaces();
  for (const part of page.querySelectorAll("[data-part]")) {
    const old = document.querySelector(`[data-part="${part.dataset.part}"]`);
    const html = part.innerHTML;
    if (old && served.get(part.dataset.part) !== html) old.replaceWith(part);
    served.set(part.dataset.part, html);
  }
  if (focused && !document.activeElement?.id) byId(focused)?.focus();
  if (!byId("thread") && page.getElementById("thread")) swapThread(page);
  showChanges(before);
  markOpenTalk();
  showPresence();
  readSeqs();
}

const rows = () => [...document.querySelectorAll("tr[data-client]")];
const rowPlaces = () => new Map(rows().map((row) => [row.dataset.client, row.getBoundingClientRect().top]));

/** Rows slide from where they were; those of which news came light up. */
function showChanges(before) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  for (const row of rows()) {
    const moved = (before.get(row.dataset.client) ?? NaN) - row.getBoundingClientRect().top;
    if (moved && !still) row.animate([{ transform: `translateY(${moved}px)` }, {}], { duration: 400, easing: "ease-out" });
    if (!changed.has(row.dataset.client)) continue;
    row.classList.add("changed");
    setTimeout(() => row.classList.remove("changed"), LIT_MS);
  }
  changed.clear();
}

// ------------------------------------------------------------------ conversations and their logs

const seqs = new Map(); // conversation → the last number of its log that this page shows
const pending = new Map(); // client_message_id → what was written and is not yet known to be stored
const drafts = new Map(); // conversation → what stands in its reply box
const elsewhere = new Map(); // conversations further down than the list goes → their last number
let catching = false;
let catchAgain = false;
let reading = false; // the open thread is being looked at, not only shown

const thread = () => byId("thread");
const openId = () => thread()?.dataset.conversation;
const talkOf = (id) => byId(`talk-${id}`);

/** The list comes from the server. The open thread goes by its own number: its messages were not fetched again. */
function readSeqs() {
  for (const { dataset } of document.querySelectorAll(".talk")) {
    const id = dataset.conversation;
    const seq = Number(dataset.seq);
    const shown = seqs.get(id) ?? -1;
    if (seq < shown) refresh(); // rendered before the last message came in
    else if (id === openId() && seq > shown) catchUp();
    else seqs.set(id, seq);
  }
}

function onLog(type, event) {
  const last = seqs.get(event.conversation_id);
  if (last === undefined) return refresh(); // a conversation that is new to this page
  if (event.seq <= last) return;
  if (event.seq > last + 1) return catchUp();
  apply(type, event);
}

function apply(type, event) {
  const id = event.conversation_id;
  seqs.set(id, event.seq);
  if (type === "message:new") showInList(event);
  else refresh();
  if (id === openId()) showInThread(type, event);
  pending.delete(event.client_message_id);
}

/** Asks for all that came after what is shown, until nothing is missing. */
async function catchUp() {
  catchAgain = true;
  if (catching) return;
  catching = true;
  try {
    while (catchAgain && socket.connected) {
      catchAgain = false;
      const ack = await socket.timeout(10000).emitWithAck("chat:sync", { cursors: Object.fromEntries(seqs) });
      if (!ack.ok) throw new Error(ack.error.code);
      for (const { id, events, has_more } of ack.conversations) {
        for (const event of events) if (event.seq > seqs.get(id)) apply(event.type, event);
        catchAgain ||= has_more && events.length > 0;
      }
    }
  } catch {
    setTimeout(catchUp, 2000);
  } finally {
    catching = false;
  }
}

function showInList(message) {
  const talk = talkOf(message.conversation_id);
  if (!talk) return refresh();
  const mine = message.sender_id === me;
  talk.querySelector(".talk-last").textContent = (mine ? "You: " : "") + message.body;
  talk.querySelector(".talk-time").textContent = shortTime(message.created_at);
  const focused = document.activeElement === talk;
  talk.closest("ul").prepend(talk.closest("li"));
  if (focused) talk.focus();
  if (!mine) addUnread(talk, 1);
}

function addUnread(talk, more) {
  for (const badge of [talk.querySelector(".badge"), allUnread()]) {
    const count = badge.querySelector(".count");
    count.textContent = Math.max(0, Number(count.textContent) + more);
    badge.hidden = count.textContent === "0";
  }
  talk.classList.toggle("unread", !talk.querySelector(".badge").hidden);
}

const allUnread = () => document.querySelector("#messages-title .badge");

function markOpenTalk() {
  for (const talk of document.querySelectorAll(".talk")) {
    if (talk.dataset.conversation === openId()) talk.setAttribute("aria-current", "true");
    else talk.removeAttribute("aria-current");
  }
}

// ------------------------------------------------------------------ the open thread

const names = () => JSON.parse(thread().dataset.names);
const timeFormat = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat("en-GB", { timeZone: zone, day: "numeric", month: "short" });
const isToday = (time) => dayFormat.format(new Date(time)) === dayFormat.format(new Date());
const shortTime = (time) => (isToday(time) ? timeFormat : dayFormat).format(new Date(time));
const fullTime = (time) => (isToday(time) ? "" : `${dayFormat.format(new Date(time))}, `) + timeFormat.format(new Date(time));

function showInThread(type, event) {
  if (type === "message:new") addMessage(event);
  if (type === "message:updated") fill(rowOf(event.message.id), event.message);
  if (type === "message:deleted") fill(rowOf(event.message_id), { body: "", deleted_at: event.deleted_at });
  if (reading) markRead();
}

const rowOf = (id) => byId("log").querySelector(`[data-id="${id}"]`);

function addMessage(message) {
  const log = byId("log");
  const sent = pending.get(message.client_message_id);
  if (rowOf(message.id)) return sent?.row.remove();
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const row = sent?.row ?? newRow(message.sender_id === me);
  row.classList.remove("pending", "failed");
  row.dataset.id = message.id;
  fill(row, message);
  if (sent) say(row, "sent");
  log.insertBefore(row, log.querySelector(".pending, .failed")); // what is not stored yet stays last
  if (atEnd || sent) log.scrollTop = log.scrollHeight;
}

function newRow(mine) {
  const row = byId("message-template").content.firstElementChild.cloneNode(true);
  row.classList.toggle("mine", mine);
  return row;
}

function fill(row, message) {
  if (!row) return;
  if (message.sender_id) row.querySelector(".from").textContent = names()[message.sender_id] ?? "Former member";
  row.querySelector(".text").textContent = message.body || "Message deleted";
  if (message.created_at) row.querySelector("time").textContent = fullTime(message.created_at);
  row.querySelector(".state").textContent = message.edited_at ? "edited" : "";
}

function write(body) {
  const row = newRow(true);
  const entry = { row, message: { conversation_id: openId(), client_message_id: crypto.randomUUID(), body } };
  row.querySelector(".text").textContent = body;
  byId("log").append(row);
  byId("log").scrollTop = byId("log").scrollHeight;
  pending.set(entry.message.client_message_id, entry);
  send(entry);
}

/** The same client_message_id however often it is sent, so it is stored once. */
function send(entry) {
  entry.row.classList.remove("failed");
  entry.row.classList.add("pending");
  say(entry.row, socket.connected ? "sending…" : "waiting for the connection");
  if (!socket.connected) return; // sent when it is there again
  socket.timeout(10000).emit("message:send", entry.message, (error, ack) => {
    if (error && !socket.connected) return;
    if (error || !ack.ok) return fail(entry, error ? "no answer" : ack.error.message);
    onLog("message:new", ack.data);
    if (ack.data.seq <= seqs.get(ack.data.conversation_id)) drop(entry); // shown by another way already
  });
}

function drop(entry) {
  if (pending.delete(entry.message.client_message_id)) entry.row.remove();
}

function fail(entry, why) {
  if (!pending.has(entry.message.client_message_id)) return; // it came in by another way meanwhile
  const again = document.createElement("button");
  again.textContent = "Send again";
  again.addEventListener("click", () => send(entry));
  entry.row.classList.replace("pending", "failed");
  say(entry.row, `Not sent: ${why} `);
  entry.row.querySelector(".state").append(again);
}

const say = (row, words) => { row.querySelector(".state").textContent = words; };

function markRead() {
  const id = openId();
  const talk = talkOf(id);
  const unread = Number(talk?.querySelector(".count").textContent ?? 0);
  if (!unread || document.hidden || !socket.connected) return;
  addUnread(talk, -unread);
  socket.emit("message:read", { conversation_id: id, seq: seqs.get(id) }, () => {});
}

async function openTalk(link) {
  if (openId()) history.replaceState(null, "", talkOf(openId())?.href); // so that "back" comes back to this one
  history.pushState(null, "", link.href);
  await showThreadOf(link.href);
  reading = true;
  markRead();
  byId("reply-body").focus({ preventScroll: matchMedia("(min-width: 60rem)").matches });
}

async function showThreadOf(address) {
  const page = await fetchPage(address);
  if (page.getElementById("thread")) swapThread(page);
  swapParts(page);
}

function swapThread(page) {
  if (thread()) drafts.set(openId(), byId("reply-body").value);
  const fresh = page.getElementById("thread");
  if (thread()) thread().replaceWith(fresh);
  else document.querySelector(".messages").append(fresh);
  startThread();
}

function startThread() {
  if (!thread()) return;
  seqs.set(openId(), Number(thread().dataset.seq));
  for (const entry of [...pending.values()].filter(({ message }) => message.conversation_id === openId())) {
    if (byId("log").querySelector(`[data-client-id="${entry.message.client_message_id}"]`)) drop(entry);
    else byId("log").append(entry.row);
  }
  byId("log").scrollTop = byId("log").scrollHeight;
  byId("reply-body").value = drafts.get(openId()) ?? "";
  byId("reply").hidden = false;
  byId("reply").addEventListener("submit", (event) => {
    event.preventDefault();
    const body = byId("reply-body").value.trim();
    if (body) write(body);
    byId("reply-body").value = "";
  });
  byId("reply-body").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("reply").requestSubmit();
  });
  thread().addEventListener("focusin", () => { reading = true; markRead(); });
}

// ------------------------------------------------------------------ the live connection

async function accessToken() {
  const response = await fetch("/session/token", { method: "POST", headers: { "X-CSRF-Token": csrf } });
  if (response.status === 401) location.assign("/sign-in");
  if (!response.ok) throw new Error(`token: ${response.status}`);
  return (await response.json()).access_token;
}

const socket = io({ auth: (give) => accessToken().then((token) => give({ token }), () => give({ token: "" })) });

function showState(words) {
  const state = byId("link-state");
  state.hidden = false;
  state.classList.toggle("live", words === "Live");
  if (state.textContent !== words) state.textContent = words;
}

socket.on("connect", () => {
  showState("Live");
  refresh();
  for (const entry of pending.values()) if (!entry.row.classList.contains("failed")) send(entry);
});

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

for (const type of ["message:new", "message:updated", "message:deleted", "reaction:changed", "member:changed", "conversation:updated"]) {
  socket.on(type, (event) => onLog(type, event));
}
// First of all on each connection: what it tells is compared with what the page shows.
socket.on("session:ready", (hello) => { onHeads(hello.heads); onPresence(hello.presence); });
socket.on("chat:heads", (event) => onHeads(event.heads));
socket.on("sync:required", () => { refresh(); catchUp(); });
socket.on("session:updated", refresh);
socket.on("churn:updated", (prediction) => { changed.add(prediction.client_id); refresh(); });
socket.on("receipt", (event) => { if (event.user_id === me) refresh(); });
socket.on("notification:new", (notification) => toast(notification.title, notification.body));
socket.on("auth:expiring", async () => socket.emit("auth:refresh", { token: await accessToken() }, () => {}));
socket.on("auth:revoked", () => location.assign("/sign-in"));

function onHeads(heads) {
  for (const [id, seq] of Object.entries(heads)) {
    if (seqs.has(id)) {
      if (seq > seqs.get(id)) catchUp();
    } else if (seq > (elsewhere.get(id) ?? -1)) {
      elsewhere.set(id, seq);
      refresh();
    }
  }
}

// ------------------------------------------------------------------ who is there, and what is told

const presence = new Map();

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

socket.on("presence", (event) => onPresence(event.users));

function toast(title, body) {
  const note = document.createElement("div");
  note.className = "toast";
  const heading = document.createElement("b");
  heading.textContent = title;
  note.append(heading, document.createElement("br"), body ?? "");
  byId("toasts").append(note);
  setTimeout(() => note.remove(), 8000);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.(".talk");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openTalk(link).catch(() => location.assign(link.href));
});
addEventListener("popstate", () => showThreadOf(location.href).catch(() => location.reload()));
document.addEventListener("visibilitychange", () => { if (!document.hidden) { refresh(); if (reading) markRead(); } });
setInterval(() => { if (!document.hidden && socket.connected) refresh(); }, 60000);

showState("Connecting…");
startThread();
readSeqs();
