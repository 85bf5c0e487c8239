// Two people of the demo practice chat through the official Socket.IO client, with its default options.
//
//   npm install socket.io-client@4
//   node chat.mjs                       (WELLIO=http://127.0.0.1:3000)
import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";

const url = process.env.WELLIO ?? "http://127.0.0.1:3000";
const password = "wellio demo practice";

async function call(method, path, { token, body } = {}) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${path}: ${json.error.code} ${json.error.message}`);
  return json.data;
}

async function join(email) {
  const login = await call("POST", "/api/v1/auth/login", { body: { email, password } });
  const socket = io(url, { auth: { token: login.access_token } });
  const name = login.user.name;
  socket.on("connect_error", (error) => console.log(name, "refused:", error.data?.code ?? error.message));
  socket.on("message:new", (m) => console.log(`${name} sees #${m.seq}: ${m.body}`));
  socket.on("typing", (t) => console.log(`${name} sees somebody typing: ${t.on ?? true}`));
  socket.on("churn:updated", (p) => console.log(`${name} sees risk: ${p.client_name} ${Math.round(p.probability * 100)} %`));
  const ready = await new Promise((resolve) => socket.once("session:ready", resolve));
  console.log(`${name} is connected; ${ready.unread} unread`);
  return { socket, token: login.access_token, user: login.user };
}

const coach = await join("coach@wellio.example");
const client = await join("client@wellio.example");

// A direct conversation that exists already is returned.
const conversation = await call("POST", "/api/v1/conversations", {
  token: coach.token,
  body: { kind: "direct", member_ids: [client.user.id] },
});

await coach.socket.emitWithAck("typing", { conversation_id: conversation.id, on: true });

// The ack comes after the message is stored. The same client_message_id again is the same message.
const message = { conversation_id: conversation.id, client_message_id: randomUUID(), body: "How was your week?" };
const first = await coach.socket.emitWithAck("message:send", message);
const again = await coach.socket.emitWithAck("message:send", message);
console.log(`stored as #${first.data.seq}; sent again it is #${again.data.seq}, duplicate: ${again.duplicate}`);

// Pipelined: sent without waiting, stored in this order.
const answers = await Promise.all(
  ["Very good!", "I ran twice,", "and slept well."].map((body) =>
    client.socket.emitWithAck("message:send", {
      conversation_id: conversation.id,
      client_message_id: randomUUID(),
      body,
    }),
  ),
);
console.log("stored in order:", answers.map((a) => `#${a.data.seq}`).join(" "));

// Whoever missed something asks for what follows the last seq they know.
const sync = await client.socket.emitWithAck("chat:sync", { cursors: { [conversation.id]: conversation.last_seq } });
console.log("sync brings:", sync.conversations[0].events.map((e) => `${e.type} #${e.seq}`).join(", "));

// A client who writes shows a sign of life: the coach sees the risk move within a second.
await new Promise((resolve) => setTimeout(resolve, 1000));
coach.socket.close();
client.socket.close();
