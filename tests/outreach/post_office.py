"""A real SMTP server (aiosmtpd) on a port of loopback, which takes mails, refuses them, hangs or hangs up."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

TAKEN = "250 2.0.0 taken"
HANG, HANG_UP, TAKE_AND_HANG_UP = "hang", "hang up", "take and hang up"


class PostOffice:
    """`answers` are given one by one, to RCPT and to DATA; then everything is taken."""

    login: ClassVar = ("wellio", "p@ss:word/ü")

    def __init__(self) -> None:
        self.port = 0
        self.to_rcpt: list[str] = []
        self.to_data: list[str] = []
        self.taken: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self.sessions.append(session)
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        answer = self.to_rcpt.pop(0) if self.to_rcpt else "250 OK"
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.to_data.pop(0) if self.to_data else TAKEN
        self.asked.set()
        if answer == HANG:
            await self.go_on.wait()
        if answer in (TAKEN, TAKE_AND_HANG_UP):
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=default)
            assert isinstance(message, EmailMessage)
            self.taken.append(message)
            self.envelopes.append(envelope)
        if answer in (HANG_UP, TAKE_AND_HANG_UP):
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return answer if answer[0].isdigit() else TAKEN

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        login = (data.login.decode(), data.password.decode())
        return AuthResult(success=login == self.login, handled=False)

    @asynccontextmanager
    async def open(self, *, tls: bool = False, **options: Any) -> AsyncIterator["PostOffice"]:
        loop = asyncio.get_running_loop()
        options |= {"tls_context": server_context()} if tls else {}

        def make() -> SMTP:
            return SMTP(self, hostname="post.example", loop=loop, enable_SMTPUTF8=True, **options)

        server = await loop.create_server(make, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.go_on.set()
            server.close()
            await server.wait_closed()
            for session in self.sessions:
                if (writer := getattr(session, "_writer", None)) is not None:
                    writer.close()


@cache
def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    return (
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "both.pem"
        path.write_bytes(b"".join(_certificate()))
        context.load_cert_chain(path)
    return context


def client_context() -> ssl.SSLContext:
    """Trusts the post office's certificate alone."""
    return ssl.create_default_context(cadata=_certificate()[0].decode())
