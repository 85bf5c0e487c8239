"""docs/socket-protocol.md tells of every event and every limit."""

import re
from pathlib import Path

from wellio.realtime.events import INCOMING, MAX_CURSORS, MAX_PRESENCE_IDS
from wellio.realtime.greetings import LIMITS, MAX_SOCKETS
from wellio.realtime.outgoing import MAX_QUEUED_PACKETS

ROOT = Path(__file__).parent.parent.parent
PROTOCOL = (ROOT / "docs" / "socket-protocol.md").read_text()


def test_every_event_of_clients_is_told_with_its_fields() -> None:
    for name, incoming in INCOMING.items():
        line = next(line for line in PROTOCOL.splitlines() if line.startswith(f"| `{name}` |"))
        for field in incoming.payload.model_fields:
            assert f"`{field}" in line, f"{name}: {field}"


def test_every_push_is_told() -> None:
    pushes = set()
    for path in [*(ROOT / "wellio" / "realtime").glob("*.py"), *(ROOT / "wellio" / "chat").glob("*.py")]:
        pushes |= set(
            re.findall(r'(?:encode_event\(|publish\([^"]*)"([a-z]+:[a-z]+|typing|presence|receipt)"', path.read_text())
        )
    assert {"message:new", "session:ready", "server:draining", "typing", "presence"} <= pushes
    for name in pushes:
        assert f"`{name}`" in PROTOCOL, name


def test_limits_are_told() -> None:
    for name in LIMITS:
        assert f'"{name}": {LIMITS[name]}' in PROTOCOL
    assert f"{MAX_SOCKETS} devices a user" in PROTOCOL
    assert f"{MAX_QUEUED_PACKETS} packets" in PROTOCOL
    assert f"at most {MAX_CURSORS}" in PROTOCOL
    assert f"`user_ids`, at most {MAX_PRESENCE_IDS}" in PROTOCOL
