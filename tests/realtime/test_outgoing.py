"""The queue of a connection: order and bounds, by itself."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from engineio.packet import Packet

from wellio.realtime.outgoing import (
    MAX_QUEUED_BYTES,
    MAX_QUEUED_PACKETS,
    PACKETS_PER_POLL,
    STUCK_S,
    Encoded,
    Outgoing,
    Turn,
    frame_of,
)


def polling() -> Outgoing:
    outgoing = Outgoing(Turn())
    outgoing.belongs_to(SimpleNamespace(upgraded=False, upgrading=False))
    return outgoing


async def poll(outgoing: Outgoing) -> list[Packet | None]:
    """As engineio's AsyncSocket.poll."""
    async with asyncio.timeout(5):
        packets = [await outgoing.get()]
    while True:
        try:
            packets.append(outgoing.get_nowait())
        except asyncio.QueueEmpty:
            return packets


async def test_packets_come_in_order_and_a_poll_takes_no_more_than_clients_accept() -> None:
    outgoing = polling()
    packets = [Encoded(b"4%d" % n) for n in range(3 * PACKETS_PER_POLL)]
    for packet in packets:
        outgoing.put_nowait(packet)
    polls = [await poll(outgoing) for _ in range(3)]
    assert [len(p) for p in polls] == [PACKETS_PER_POLL] * 3
    assert [packet for p in polls for packet in p] == packets
    assert (outgoing.qsize(), outgoing.bytes) == (0, 0)


async def test_reader_that_takes_nothing_for_long_is_too_slow_however_little_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outgoing, clock, overflowed = polling(), [100.0], []
    monkeypatch.setattr("wellio.realtime.outgoing.time", SimpleNamespace(monotonic=lambda: clock[0]))
    outgoing.on_overflow = lambda: overflowed.append(clock[0])
    for _ in range(3):
        for _ in range(PACKETS_PER_POLL):
            outgoing.put_nowait(Encoded(b"4"))
        clock[0] += STUCK_S
        await poll(outgoing)  # some, late, and then nothing more
    for _ in range(2):
        outgoing.put_nowait(Encoded(b"4"))
        clock[0] += STUCK_S + 1
    assert overflowed == [100.0 + 4 * STUCK_S + 1]


async def test_waiting_poll_gets_what_comes() -> None:
    outgoing = polling()
    waiting = asyncio.ensure_future(poll(outgoing))
    await asyncio.sleep(0)
    outgoing.put_nowait(packet := Encoded(b"4"))
    assert await waiting == [packet]


async def test_poll_that_gave_up_loses_nothing() -> None:
    outgoing = polling()
    gone, waiting = [asyncio.ensure_future(poll(outgoing)) for _ in range(2)]
    await asyncio.sleep(0)
    outgoing.put_nowait(packet := Encoded(b"4"))
    gone.cancel()
    assert await waiting == [packet]


async def test_poll_left_behind_by_an_upgrade_takes_nothing_along() -> None:
    outgoing = Outgoing(Turn())
    socket = SimpleNamespace(upgraded=False, upgrading=False)
    outgoing.belongs_to(socket)
    left_behind = asyncio.ensure_future(poll(outgoing))
    await asyncio.sleep(0)
    socket.upgraded = True
    writer = asyncio.ensure_future(poll(outgoing))
    await asyncio.sleep(0)
    outgoing.put_nowait(packet := Encoded(b"4"))
    assert await writer == [packet]
    (noop,) = await left_behind
    assert noop is not None
    assert noop.packet_type == 6


class Wire:
    """A WebSocket of aiohttp, as far as it matters: what was written to it, and whether it takes more."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.protocol = SimpleNamespace(_paused=False)
        self.transport = SimpleNamespace(write=self.written.append, is_closing=lambda: False)
        self.writer = SimpleNamespace(_closing=False, transport=self.transport, protocol=self.protocol, _output_size=0)

    def outgoing(self) -> Outgoing:
        made = Outgoing(Turn())
        made.belongs_to(SimpleNamespace(upgraded=True, upgrading=False))
        made.attach(SimpleNamespace(_writer=self.writer), self.transport)  # type: ignore[arg-type]
        return made


async def test_websocket_is_written_to_in_order_with_what_waits() -> None:
    wire = Wire()
    outgoing = wire.outgoing()
    packets = [Encoded(b"4%d" % n) for n in range(6)]
    outgoing.put_nowait(packets[0])  # engineio's writer is not there yet
    assert await poll(outgoing) == [packets[0]]
    writing = asyncio.ensure_future(poll(outgoing))
    await asyncio.sleep(0)
    outgoing.put_nowait(packets[1])
    wire.protocol._paused = True
    outgoing.put_nowait(packets[2])  # waits, and what came before it is written first
    wire.protocol._paused = False
    outgoing.put_nowait(packets[3])
    assert wire.written == [packets[1].frame]
    assert await writing == [packets[2], packets[3]]
    outgoing.put_nowait(packets[4])  # the writer has those two in hand
    assert await poll(outgoing) == [packets[4]]
    assert wire.written == [packets[1].frame]


async def test_packets_of_one_moment_are_one_write() -> None:
    wire = Wire()
    outgoing = wire.outgoing()
    writing = asyncio.ensure_future(poll(outgoing))
    await asyncio.sleep(0)
    packets = [Encoded(b"4%d" % n) for n in range(5)]
    for packet in packets:
        outgoing.put_nowait(packet)
    assert (wire.written, outgoing.idle) == ([], False)
    await asyncio.sleep(0)
    assert wire.written == [b"".join(packet.frame for packet in packets)]
    assert outgoing.idle
    large = Encoded(b"4" + b"x" * 100_000)
    outgoing.put_nowait(large)
    assert wire.written[1:] == [large.frame]
    writing.cancel()


@pytest.mark.parametrize(
    ("packet", "limit"),
    [(Encoded(b"4"), MAX_QUEUED_PACKETS), (Encoded(b"4" + b"x" * 99_999), MAX_QUEUED_BYTES // 100_000)],
    ids=["packets", "bytes"],
)
async def test_too_much_overflows_once_and_is_forgotten(packet: Encoded, limit: int) -> None:
    outgoing = polling()
    overflows: list[Any] = []

    def overflow() -> None:
        overflows.append(outgoing.qsize())
        outgoing.abort()

    outgoing.on_overflow = overflow
    for _ in range(limit + 10):
        outgoing.put_nowait(packet)
    assert overflows == [limit]
    assert outgoing.bytes == 0
    assert await poll(outgoing) == [None]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 100_000])
async def test_frames_are_what_aiohttp_writes(size: int) -> None:
    from aiohttp._websocket.writer import WebSocketWriter

    written = bytearray()
    transport = SimpleNamespace(write=written.extend, is_closing=lambda: False)
    protocol = SimpleNamespace(_paused=False)
    payload = b"x" * size
    await WebSocketWriter(protocol, transport).send_frame(payload, 1)  # type: ignore[arg-type]
    assert frame_of(payload) == bytes(written)
