// Runs official Socket.IO clients for pytest: commands come as JSON lines on standard input, and all that happens
// goes out as JSON lines on standard output. Clients have their default options but for those a command names.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { Chat } from "../../docs/examples/client.mjs";

const clients = new Map();
const chats = new Map(); // of the clients that keep the rule
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

function connect({ client, url, auth, options, chat }) {
  const socket = io(url, { auth, forceNew: true, ...options });
  clients.set(client, socket);
  const tell = (what, data) => say({ client, what, data: data ?? null });
  socket.on("connect", () => tell("connect", { id: socket.id, transport: socket.io.engine.transport.name, recovered: Boolean(socket.recovered) }));
  socket.on("disconnect", (reason) => tell("disconnect", reason));
  socket.on("connect_error", (error) => tell("connect_error", { message: error.message, data: error.data }));
  socket.io.on("reconnect_attempt", () => tell("reconnect_attempt"));
  socket.io.on("open", () => socket.io.engine.on("upgrade", (t) => tell("upgrade", t.name)));
  socket.onAny((event, data) => say({ client, event, data }));
  socket.onAnyOutgoing((event, data) => event === "chat:sync" && tell("sync", data));
  if (chat) chats.set(client, new Chat(socket, { apply: (event) => tell("applied", event), removed: (id) => tell("removed", id) }));
}

const commands = {
  connect,
  auth: ({ client, auth }) => (clients.get(client).auth = auth),
  emit: ({ client, event, data, ack }) => clients.get(client).emit(event, data, (answer) => say({ client, ack, data: answer })),
  send: ({ client, conversation_id, body, ack }) =>
    chats.get(client).send(conversation_id, body).then((answer) => say({ client, ack, data: answer })),
  // Many events without waiting for any ack.
  burst: ({ client, event, items, ack }) =>
    items.forEach((data, n) => clients.get(client).emit(event, data, (answer) => say({ client, ack: `${ack}${n}`, data: answer }))),
  // The link breaks without a goodbye; the client notices and reconnects by itself.
  cut: ({ client }) => clients.get(client).io.engine.close(),
  connect_again: ({ client }) => clients.get(client).connect(),
  disconnect: ({ client }) => clients.get(client).disconnect(),
  end: () => process.exit(0),
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
say({ what: "ready" });
