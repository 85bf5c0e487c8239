// A chat client that loses nothing, doubles nothing and keeps the order: the rule of ../socket-protocol.md in one class
// on the official Socket.IO client. Wellio's own tests run this file.
//
//   import { io } from "socket.io-client";
//   const socket = io(url, { auth: (give) => give({ token: accessToken() }) });
//   const chat = new Chat(socket, { apply: (event) => show(event) });
//   const answer = await chat.send(conversationId, "How was your week?");

// What has a place in a conversation's log.
const LOG = ["message:new", "message:updated", "message:deleted", "reaction:changed", "member:changed", "conversation:updated"];
// After these the same message is sent again, with the same client_message_id: it is stored once, however often it comes.
const REPEAT = new Set(["UNAVAILABLE", "BUSY", "RATE_LIMITED", "INTERNAL", "NOT_CONNECTED", "NO_ANSWER"]);
const MAX_CURSORS = 100;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class Chat {
  // cursors: {conversation_id: seq}, the last that was applied, as kept from the time before (see `cursors()`).
  // apply(event): called once for each event of a log, in its order; `event.type` is its name.
  // removed(conversation_id): you are no longer in it. token(): gives a new access token.
  constructor(socket, { cursors = {}, apply = () => {}, removed = () => {}, token = null } = {}) {
    Object.assign(this, { socket, apply, removed, token });
    this.last = new Map(Object.entries(cursors));
    this.behind = new Set(); // conversations to ask about
    this.outbox = []; // messages without an answer, in the order they were written
    for (const type of LOG) socket.on(type, (event) => this.take({ ...event, type }));
    socket.on("chat:heads", ({ heads }) => this.compare(heads));
    // Of a connection that was recovered (socket.recovered) all that was missed has come before this, as pushes.
    socket.on("session:ready", ({ heads }) => {
      this.compare(heads);
      this.sendNext();
    });
    socket.on("auth:expiring", async () => this.token && this.ask("auth:refresh", { token: await this.token() }));
    // A refused client does not come back by itself: wait as long as it was told to, or mend what was refused first.
    socket.on("connect_error", ({ data }) => {
      if (!socket.active && data?.retry_after_ms) setTimeout(() => socket.connect(), data.retry_after_ms);
    });
  }

  cursors() {
    return Object.fromEntries(this.last);
  }

  // The rule. The next one is applied, what is known is ignored, and after a gap the log is asked.
  take(event) {
    const id = event.conversation_id;
    const last = this.last.get(id) ?? 0;
    if (event.seq === last + 1) {
      this.last.set(id, event.seq);
      this.apply(event);
    } else if (event.seq === 0) {
      this.last.set(id, last); // a conversation was opened; its log begins with 1
    } else if (event.seq > last + 1) {
      this.behind.add(id);
      this.sync();
    }
  }

  // A head above the last one that was applied: something was missed that no later event has told of.
  compare(heads) {
    for (const [id, head] of Object.entries(heads)) if (head > (this.last.get(id) ?? 0)) this.behind.add(id);
    for (const id of this.last.keys()) if (!(id in heads)) this.leave(id);
    this.sync();
  }

  async sync() {
    if (this.syncing) return;
    this.syncing = true;
    while (this.behind.size && this.socket.connected) {
      const asked = [...this.behind].slice(0, MAX_CURSORS);
      const cursors = Object.fromEntries(asked.map((id) => [id, this.last.get(id) ?? 0]));
      const answer = await this.ask("chat:sync", { cursors });
      if (!answer.ok) {
        await pause(answer.error.retry_after_ms ?? 500);
        continue;
      }
      for (const id of asked) this.behind.delete(id);
      for (const { id, events, has_more } of answer.conversations) {
        for (const event of events) this.take(event);
        if (has_more) this.behind.add(id);
      }
      const told = new Set(answer.conversations.map(({ id }) => id));
      for (const id of asked) if (!told.has(id)) this.leave(id);
    }
    this.syncing = false;
  }

  leave(id) {
    this.behind.delete(id);
    if (this.last.delete(id)) this.removed(id);
  }

  // Resolves with the ack, when there is one that repeating would not change, over as many connections as it takes.
  send(conversation_id, body, fields = {}) {
    const message = { conversation_id, client_message_id: crypto.randomUUID(), body, ...fields };
    return new Promise((done) => {
      this.outbox.push({ message, done });
      this.sendNext();
    });
  }

  // One at a time, so that a refused one is not passed by the next.
  async sendNext() {
    if (this.sending) return;
    this.sending = true;
    while (this.outbox.length && this.socket.connected) {
      const { message, done } = this.outbox[0];
      const answer = await this.ask("message:send", message);
      if (!answer.ok && REPEAT.has(answer.error.code)) {
        await pause(answer.error.retry_after_ms ?? 500);
      } else {
        this.outbox.shift();
        done(answer);
      }
    }
    this.sending = false;
  }

  // The ack, always: a connection that broke, or an answer that took too long, is an error as well.
  async ask(event, data) {
    try {
      return await this.socket.timeout(10_000).emitWithAck(event, data);
    } catch {
      return { ok: false, error: { code: "NO_ANSWER" } };
    }
  }
}
