"""Socket.IO: server, chat events, presence and the bus between processes."""
