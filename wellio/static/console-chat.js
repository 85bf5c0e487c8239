// Conversations: the list, and the open thread with its reply box. A conversation's log is numbered without holes, so
// the rule is: the next number is applied, an older one is ignored, a later one means that something was missed.

import { byId, fetchPage, onSwap, refresh, swapParts } from "./console-page.js";
import { socket } from "./console-socket.js";

const me = document.body.dataset.user;
const zone = document.body.dataset.zone;

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

/** One event of a conversation's log, pushed or synced. */
export function onLog(type, event) {
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
export async function catchUp() {
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

/** What was written while there was no connection goes out now. */
export function sendPending() {
  for (const entry of pending.values()) if (!entry.row.classList.contains("failed")) send(entry);
}

/** How far each conversation has come: the last message of a quiet one is found by this alone. */
export function onHeads(heads) {
  for (const [id, seq] of Object.entries(heads)) {
    if (seqs.has(id)) {
      if (seq > seqs.get(id)) catchUp();
    } else if (seq > (elsewhere.get(id) ?? -1)) {
      elsewhere.set(id, seq);
      refresh();
    }
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.(".talk");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openTalk(link).catch(() => location.assign(link.href));
});
addEventListener("popstate", () => showThreadOf(location.href).catch(() => location.reload()));
document.addEventListener("visibilitychange", () => { if (reading) markRead(); });

onSwap((page) => {
  if (!thread() && page.getElementById("thread")) swapThread(page);
  markOpenTalk();
  readSeqs();
});
startThread();
readSeqs();
