"""Access tokens (JWT, RFC 9068) and refresh tokens (opaque, RFC 9700).

An access token names the session (sid) it belongs to, which is looked up on each request: a revoked
session stops working at once, whatever the token says. Its header names the key (kid) that signed it, so that the
secret can change while tokens of the one before are still about.
"""

import base64
import hmac
import re
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
MAX_LIFE_S = 3600
MAX_TOKEN_CHARS = 4096
# The compact form alone (RFC 7515, 7.1): Python's base64 passes over what does not belong there.
TOKEN_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
REQUIRED = ["exp", "iat", "sub", "iss", "aud", "jti", "sid", "tid"]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says. `expires_at` is Unix seconds."""

    user_id: UUID
    practice_id: UUID
    session_id: UUID
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Keys:
    """Separate keys from one secret: what signs must not derive. `id` tells secrets apart, and nothing of them."""

    id: str
    signing: bytes
    refresh: bytes
    form: bytes
    connection: bytes


class Tokens:
    """Issues tokens under one secret of at least 32 bytes; checks also those made under the ones before."""

    def __init__(self, secret: str, *previous: str) -> None:
        self._keys = [_keys(each) for each in (secret, *previous) if each]
        self._current = self._keys[0]

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
        headers = {"typ": TOKEN_TYPE, "kid": self._current.id}
        return jwt.encode(claims, self._current.signing, algorithm=ALGORITHM, headers=headers)

    def verify_access(self, token: str) -> Claims:
        """Raises Unauthorized (code TOKEN_EXPIRED when that is all that is wrong with it)."""
        if len(token) > MAX_TOKEN_CHARS or not TOKEN_FORM.fullmatch(token):
            raise Unauthorized("The access token is not valid.")
        try:
            decoded = jwt.decode_complete(
                token,
                self._key_of(token).signing,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                leeway=LEEWAY,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
            return _claims(decoded["payload"])
        except jwt.ExpiredSignatureError:
            raise Unauthorized("The access token has expired; refresh it.", code="TOKEN_EXPIRED") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise Unauthorized("The access token is not valid.") from None

    def _key_of(self, token: str) -> _Keys:
        """By the header, which must be as ours are: no other algorithm, no key or address of a key (jwk, jku, x5u)."""
        header = jwt.get_unverified_header(token)
        for keys in self._keys:
            if header == {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": keys.id}:
                return keys
        raise ValueError("not a token of ours")

    @staticmethod
    def new_refresh() -> str:
        """The first refresh token of a session: 256 random bits, base64url."""
        return secrets.token_urlsafe(32)

    def next_refresh(self, token: str) -> list[str]:
        """The successor of a refresh token: a keyed digest of it, so that a repeated refresh gets the same one
        and nothing but hashes has to be stored. The first is what to make now; after it, what it would have been
        under the secrets before."""
        return [_digest(keys.refresh, token) for keys in self._keys]

    def form_token(self, cookie: str) -> str:
        """The CSRF token of a console session."""
        return _digest(self._current.form, cookie)

    def is_form_token(self, cookie: str, token: str) -> bool:
        given = token.encode("utf-8", "surrogatepass")
        return any(hmac.compare_digest(_digest(keys.form, cookie).encode(), given) for keys in self._keys)

    def new_connection_id(self, session_id: UUID) -> str:
        """What a client calls its connection by when it comes back. It opens nothing without a token of the session."""
        return self._connection_id(self._current, session_id, secrets.token_urlsafe(9))

    def is_connection_id(self, session_id: UUID, connection_id: str) -> bool:
        """Whether it was made for this session, by whatever process."""
        nonce = connection_id.partition(".")[0]
        given = connection_id.encode("utf-8", "surrogatepass")
        return any(
            hmac.compare_digest(self._connection_id(keys, session_id, nonce).encode("utf-8", "surrogatepass"), given)
            for keys in self._keys
        )

    @staticmethod
    def _connection_id(keys: _Keys, session_id: UUID, nonce: str) -> str:
        return f"{nonce}.{_digest(keys.connection, f'{session_id} {nonce}')}"


def _keys(secret: str) -> _Keys:
    def derive(purpose: bytes) -> bytes:
        return hmac.digest(secret.encode(), purpose, "sha256")

    return _Keys(
        id=derive(b"wellio key id")[:8].hex(),
        signing=derive(b"wellio access token") * 2,
        refresh=derive(b"wellio refresh token"),
        form=derive(b"wellio form token"),
        connection=derive(b"wellio connection"),
    )


def hash_token(token: str) -> bytes:
    """What is stored of a random token: sha256 is enough, there is nothing to guess."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _claims(payload: dict[str, object]) -> Claims:
    # PyJWT takes "1800000000", 1.8e9 and numbers beyond all years for times too; ours are whole, and never far off.
    issued_at, expires_at = payload["iat"], payload["exp"]
    if type(issued_at) is not int or type(expires_at) is not int or expires_at - issued_at > MAX_LIFE_S:
        raise ValueError("not our form of a time")
    return Claims(
        user_id=UUID(str(payload["sub"])),
        practice_id=UUID(str(payload["tid"])),
        session_id=UUID(str(payload["sid"])),
        expires_at=expires_at,
    )


def _digest(key: bytes, text: str) -> str:
    digest = hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
