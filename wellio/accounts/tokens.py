"""Access tokens (JWT, RFC 9068) and refresh tokens (opaque, RFC 9700).

An access token names the session (sid) it belongs to, which is looked up on each request: a revoked
session stops working at once, whatever the token says.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

import jwt

from wellio.errors import Unauthorized

ISSUER = "wellio"
AUDIENCE = "wellio-api"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068's media type
ALGORITHM = "HS256"
ACCESS_TTL = timedelta(minutes=15)
LEEWAY = timedelta(seconds=30)
MAX_TOKEN_CHARS = 4096
REQUIRED = ["exp", "iat", "sub", "iss", "aud", "jti", "sid", "tid"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says. `expires_at` is Unix seconds."""

    user_id: UUID
    practice_id: UUID
    session_id: UUID
    expires_at: int


class Tokens:
    """Issues and checks tokens under one secret of at least 32 bytes."""

    def __init__(self, secret: str) -> None:
        # Separate keys from one secret: what signs must not derive.
        self._signing_key = hmac.digest(secret.encode(), b"wellio access token", "sha256") * 2
        self._refresh_key = hmac.digest(secret.encode(), b"wellio refresh token", "sha256")
        self._form_key = hmac.digest(secret.encode(), b"wellio form token", "sha256")

    def issue_access(self, *, user_id: UUID, practice_id: UUID, session_id: UUID, ttl: timedelta = ACCESS_TTL) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "tid": str(practice_id),
            "sid": str(session_id),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + ttl,
        }
        return jwt.encode(claims, self._signing_key, algorithm=ALGORITHM, headers={"typ": TOKEN_TYPE})

    def verify_access(self, token: str) -> Claims:
        """Raises Unauthorized (code TOKEN_EXPIRED when that is all that is wrong with it)."""
        if len(token) > MAX_TOKEN_CHARS:
            raise Unauthorized("The access token is not valid.")
        try:
            decoded = jwt.decode_complete(
                token,
                self._signing_key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
            return _claims(decoded["header"], decoded["payload"])
        except jwt.ExpiredSignatureError:
            raise Unauthorized("The access token has expired; refresh it.", code="TOKEN_EXPIRED") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise Unauthorized("The access token is not valid.") from None

    @staticmethod
    def new_refresh() -> str:
        """The first refresh token of a session: 256 random bits, base64url."""
        return secrets.token_urlsafe(32)

    def next_refresh(self, token: str) -> str:
        """The successor of a refresh token: a keyed digest of it, so that a repeated refresh gets the same one
        and nothing but hashes has to be stored."""
        return _urlsafe(hmac.digest(self._refresh_key, token.encode(), "sha256"))

    def form_token(self, cookie: str) -> str:
        """The CSRF token of a console session."""
        return _urlsafe(hmac.digest(self._form_key, cookie.encode(), "sha256"))


def hash_token(token: str) -> bytes:
    """What is stored of a random token: sha256 is enough, there is nothing to guess."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _claims(header: dict[str, object], payload: dict[str, object]) -> Claims:
    if str(header.get("typ", "")).lower() != TOKEN_TYPE:
        raise ValueError("not an access token")
    return Claims(
        user_id=UUID(str(payload["sub"])),
        practice_id=UUID(str(payload["tid"])),
        session_id=UUID(str(payload["sid"])),
        expires_at=int(str(payload["exp"])),
    )


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
