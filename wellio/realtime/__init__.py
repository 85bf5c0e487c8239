"""Socket.IO: connections, the events of chat, fan-out to devices, presence, and the link between processes."""
