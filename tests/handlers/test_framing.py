"""What is no well-formed HTTP, or says two things at once: refused, closed, and nothing gets through with it."""

import asyncio

import pytest

from tests.api import Api
from tests.factories import House
from tests.handlers.conftest import Starter
from tests.handlers.wire import Reply, send
from wellio.http_limits import HttpLimits

SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: smuggled\r\nConnection: close\r\n\r\n"
POST = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
)

# Refused with 400, and the connection is closed.
MALFORMED = {
    "length and chunks": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding behind a tab of another kind": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding in quotes": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n' + SMUGGLED,
    "codings twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "folded header": POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
    "length with a sign": POST + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED,
    "negative length": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "length with an underscore": POST + b"Content-Length: 1_0\r\n\r\n0123456789" + SMUGGLED,
    "length in hex": POST + b"Content-Length: 0x5\r\n\r\nhello" + SMUGGLED,
    "length in other digits": POST + "Content-Length: ٥\r\n\r\nhello".encode() + SMUGGLED,
    "no length": POST + b"Content-Length: \r\n\r\n" + SMUGGLED,
    "two lengths in one": POST + b"Content-Length: 5, 5\r\n\r\nhello" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\nhello" + SMUGGLED,
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + SMUGGLED,
    "NUL in a value": GET + b"X: a\0b\r\n\r\n" + SMUGGLED,
    "control in a value": GET + b"X: a\x01b\r\n\r\n" + SMUGGLED,
    "carriage return in a value": GET + b"X: a\rb\r\n\r\n" + SMUGGLED,
    "control in a name": GET + b"X\x01: a\r\n\r\n" + SMUGGLED,
    "space in a name": GET + b"X Y: a\r\n\r\n" + SMUGGLED,
    "no name": GET + b": a\r\n\r\n" + SMUGGLED,
    "no colon": GET + b"X\r\n\r\n" + SMUGGLED,
    "two hosts": GET + b"Host: y\r\n\r\n" + SMUGGLED,
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n" + SMUGGLED,
    "chunk size with a sign": CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "negative chunk size": CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "chunk size with an underscore": CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n" + SMUGGLED,
    "chunk size in 0x": CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "no chunk size": CHUNKED + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "chunk size past 64 bits": CHUNKED + b"f" * 20 + b"\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "chunk longer than its size": CHUNKED + b"2\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "line feed in a chunk's extension": CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "no version": b"GET /health/live\r\n\r\n" + SMUGGLED,
    "version of two digits": b"GET /health/live HTTP/1.10\r\nHost: x\r\n\r\n" + SMUGGLED,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\r\n\r\n" + SMUGGLED,
    "NUL in the method": b"G\0T / HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    "NUL in the address": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    "line of 9 KiB": b"GET /" + b"a" * 9216 + b" HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
    "header of 9 KiB": GET + b"X: " + b"a" * 9216 + b"\r\n\r\n" + SMUGGLED,
    "name of 9 KiB": GET + b"X" * 9216 + b": a\r\n\r\n" + SMUGGLED,
    "129 headers": GET + b"".join(b"X-%d: a\r\n" % n for n in range(129)) + b"\r\n" + SMUGGLED,
    "cookie of 64 KiB": GET + b"Cookie: a=" + b"b" * 65536 + b"\r\n\r\n" + SMUGGLED,
    "header without end": GET + b"X: " + b"a" * 1_000_000,
}

# Unusual and allowed, or refused in another way: what counts is that nothing passes with it.
ODD = {
    "absolute address": b"GET http://other.example/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "question mark and hash": b"GET /?# HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "broken escape": b"GET /%zz%f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "escapes of no UTF-8": b"GET /health/%ff%fe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "CONNECT": b"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\nConnection: close\r\n\r\n",
    "unknown method": b"BREW /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "method in small letters": b"get /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET /health/live HTTP/1.0\r\n\r\n",
    "host of nonsense": b"GET /health/live HTTP/1.1\r\nHost: a b;c\r\nConnection: close\r\n\r\n",
    "bare line feeds": b"GET /health/live HTTP/1.1\nHost: x\nConnection: close\n\n",
    "bytes of no UTF-8 in a value": GET + b"X: \xff\xfe\r\nConnection: close\r\n\r\n",
    "expectation": POST + b"Expect: something\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    "body of a GET": GET + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "upgrade with a body": UPGRADE + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    "upgrade with chunks": UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "upgrade to h2c": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    "upgrade of a POST": POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
    "length that lies": POST + b"Content-Length: 4000000000\r\nConnection: close\r\n\r\n{}",
    "chunk size of many digits": CHUNKED + b"0" * 100_000 + b"2\r\n{}\r\n0\r\n\r\n",
    "chunks without end": CHUNKED + b"10000\r\n" + b"a" * 65536,
}


def in_our_form(reply: Reply) -> bool:
    return reply.status < 400 or set(reply.json["error"]) == {"code", "message", "details"}


async def replies_to(api: Api, corpus: dict[str, bytes]) -> dict[str, list[Reply]]:
    replies = await asyncio.gather(*(send(api, data) for data in corpus.values()))
    return dict(zip(corpus, replies, strict=True))


async def test_malformed_requests_are_refused_and_take_nothing_with_them(narrow: Starter) -> None:
    async with narrow(HttpLimits(idle_s=1, body_s=1)) as api:
        answers = await replies_to(api, MALFORMED)
    statuses = {name: [reply.status for reply in replies] for name, replies in answers.items()}
    assert {name: found for name, found in statuses.items() if found != [400]} == {}
    assert all(in_our_form(reply) for replies in answers.values() for reply in replies)
    assert all(reply.headers["x-request-id"] != "smuggled" for replies in answers.values() for reply in replies)


async def test_odd_requests_are_answered_and_take_nothing_with_them(narrow: Starter) -> None:
    async with narrow(HttpLimits(idle_s=1, body_s=1)) as api:
        answers = await replies_to(api, ODD)
        assert (await api.get("/health/live")).status == 200
    wrong = {
        name: [(r.status, r.headers.get("x-request-id")) for r in replies]
        for name, replies in answers.items()
        if len(replies) > 1
        or not all(r.status < 500 and in_our_form(r) for r in replies)
        or any(r.headers.get("x-request-id") == "smuggled" for r in replies)
    }
    assert not wrong


async def test_a_hundred_headers_are_enough_for_everybody(narrow: Starter) -> None:
    async with narrow(HttpLimits(idle_s=1)) as api:
        headers = b"".join(b"X-%d: a\r\n" % n for n in range(97))
        [reply] = await send(api, GET + headers + b"Connection: close\r\n\r\n")
        assert reply.status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "GZIP", "xyz"])
async def test_no_body_is_unpacked(api: Api, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = await api.call("POST", "/api/v1/auth/login", data=b"x" * 100, headers=headers)
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_endless_body_is_cut_at_its_limit(narrow: Starter, house: House) -> None:
    async with narrow(HttpLimits(body_s=10)) as api:
        chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
        [reply] = await send(api, CHUNKED + chunk * 40)
        assert (reply.status, reply.code) == (413, "TOO_LARGE")


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "text/xml", "*/*", "\xff"])
async def test_other_kinds_of_body_are_not_looked_into(api: Api, content_type: str) -> None:
    body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n" * 5000 + b"--x--\r\n"
    for path in ("/api/v1/auth/login", "/sign-in"):
        answer = await api.call("POST", path, data=body, headers={"Content-Type": content_type})
        assert answer.status == 415
