"""Tokens that must not open a door, each by what is wrong with it (RFC 8725, RFC 9068; ASVS 9.1 and 9.2).

Many are signed with the right key: so it is the claim or the header that has to be noticed, not only the signature.
"""

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.factories import House
from wellio.accounts.one_time_tokens import Purpose, mint_token
from wellio.accounts.tokens import Tokens, hash_token
from wellio.db import Database

FOREIGN_SECRET = "another secret, but as long as the right one, for sure"

Json = dict[str, Any]
Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Forge:
    """Makes tokens as Wellio does, with whatever is changed. Values of None are left out."""

    header: Json
    claims: Json
    key: bytes

    def make(self, *, header: Json | None = None, claims: Json | None = None, sign: Sign | None = None) -> str:
        head = {k: v for k, v in {**self.header, **(header or {})}.items() if v is not None}
        body = {k: v for k, v in {**self.claims, **(claims or {})}.items() if v is not None}
        return self.raw(json.dumps(head).encode(), json.dumps(body).encode(), sign)

    def raw(self, header: bytes, payload: bytes, sign: Sign | None = None) -> str:
        signed = b".".join((part(header), part(payload)))
        return b".".join((signed, part((sign or hs256(self.key))(signed)))).decode()


def part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def hs256(key: bytes) -> Sign:
    return lambda signed: hmac.digest(key, signed, "sha256")


def unsigned(_: bytes) -> bytes:
    return b""


async def forged_tokens(db: Database, tokens: Tokens, house: House, good: str) -> dict[str, str]:
    """`good` is the coach's access token, which the forgeries start from."""
    head, body, signature = good.split(".")
    forge = Forge(opened(head), opened(body), tokens._current.signing)
    return {
        **algorithms(forge, signature),
        **key_names(forge),
        **headers(forge),
        **times(forge),
        **claims(forge, house),
        **edited(forge, good, house),
        **shapes(forge, good),
        **await other_secrets(db, house),
    }


def opened(encoded: str) -> Json:
    value: Json = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    return value


def algorithms(forge: Forge, signature: str) -> dict[str, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    made = {
        f"algorithm {name!r}, unsigned": forge.make(header={"alg": name}, sign=unsigned)
        for name in ("none", "None", "nOnE", "NONE", "", "null")
    }
    return made | {
        "algorithm none with the right signature": forge.make(header={"alg": "none"}),
        "algorithm none with the old signature": forge.make(header={"alg": "none"}, sign=unsigned) + signature,
        "no algorithm": forge.make(header={"alg": None}),
        "algorithm of another type": forge.make(header={"alg": ["HS256"]}),
        "HS512 named": forge.make(header={"alg": "HS512"}),
        "HS384 with the right key": forge.make(
            header={"alg": "HS384"}, sign=lambda signed: hmac.digest(forge.key, signed, "sha384")
        ),
        "algorithm in lower case": forge.make(header={"alg": "hs256"}),
        "RS256 by a key pair of one's own": forge.make(
            header={"alg": "RS256"}, sign=lambda signed: private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        ),
        "HS256 with a public key as the secret": forge.make(sign=hs256(public)),
        "HS256 with an empty secret": forge.make(sign=hs256(b"")),
        "HS256 with a guessed secret": forge.make(sign=hs256(b"secret" * 12)),
        "ES256 named, with no numbers (CVE-2022-21449)": forge.make(header={"alg": "ES256"}, sign=lambda _: bytes(64)),
    }


def key_names(forge: Forge) -> dict[str, str]:
    return {
        "kid that climbs to /dev/null": forge.make(header={"kid": "../../../dev/null"}, sign=hs256(b"")),
        "kid that is a path": forge.make(header={"kid": "/etc/hostname"}),
        "kid that is SQL": forge.make(header={"kid": "x' union select 'key'--"}, sign=hs256(b"key")),
        "kid that is a URL": forge.make(header={"kid": "https://evil.example/key"}),
        "kid of another type": forge.make(header={"kid": 0}),
        "empty kid": forge.make(header={"kid": ""}, sign=hs256(b"")),
        "no kid": forge.make(header={"kid": None}),
        "kid of another installation": forge.make(header={"kid": Tokens(FOREIGN_SECRET)._current.id}),
    }


def headers(forge: Forge) -> dict[str, str]:
    jwk = {"kty": "oct", "k": part(b"k" * 64).decode()}
    return {
        "jwk of one's own": forge.make(header={"jwk": jwk}, sign=hs256(b"k" * 64)),
        "jku": forge.make(header={"jku": "https://evil.example/jwks.json"}),
        "x5u": forge.make(header={"x5u": "https://evil.example/cert.pem"}),
        "x5c": forge.make(header={"x5c": ["MIIB"]}),
        "crit that nobody knows": forge.make(header={"crit": ["exp-shift"], "exp-shift": 1e9}),
        "b64 false": forge.make(header={"b64": False, "crit": ["b64"]}),
        "zip": forge.make(header={"zip": "DEF"}),
        "typ JWT": forge.make(header={"typ": "JWT"}),
        "no typ": forge.make(header={"typ": None}),
        "typ of a refresh token": forge.make(header={"typ": "rt+jwt"}),
    }


def times(forge: Forge) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp())
    changes: dict[str, Json] = {
        "expired": {"exp": now - 3600},
        "without exp": {"exp": None},
        "exp as a text": {"exp": "tomorrow"},
        "exp as digits in a text": {"exp": str(now + 3600)},
        "exp as a fraction": {"exp": now + 3600.5},
        "exp true": {"exp": True},
        "exp as a list": {"exp": [now + 3600]},
        "exp beyond all numbers": {"exp": 10**400},
        "exp in a hundred years": {"exp": now + 100 * 365 * 86_400},
        "not valid yet": {"nbf": now + 3600},
        "nbf as a text": {"nbf": "now"},
        "issued in the future": {"iat": now + 3600},
        "without iat": {"iat": None},
        "iat as a text": {"iat": "yesterday"},
    }
    made = {name: forge.make(claims=change) for name, change in changes.items()}
    endless = json.dumps(forge.claims | {"exp": 0}).replace('"exp": 0', '"exp": 1e400')
    made["exp 1e400"] = forge.raw(json.dumps(forge.header).encode(), endless.encode())
    return made


def claims(forge: Forge, house: House) -> dict[str, str]:
    changes: dict[str, Json] = {
        "of another issuer": {"iss": "https://evil.example"},
        "without issuer": {"iss": None},
        "of another audience": {"aud": "wellio-console"},
        "without audience": {"aud": None},
        "without jti": {"jti": None},
        "without sub": {"sub": None},
        "without sid": {"sid": None},
        "without tid": {"tid": None},
        "sub as a number": {"sub": 1},
        "sub that is SQL": {"sub": "' or 1=1--"},
        "sid of no session": {"sid": str(uuid4())},
        "sid of another user": {"sid": str(house.owner.session_id)},
        "sub of another user": {"sub": str(house.owner.user_id)},
        "tid of another practice": {"tid": str(uuid4())},
        "sid with a NUL": {"sid": str(house.coach.session_id)[:-1] + "\0"},
    }
    return {name: forge.make(claims=change) for name, change in changes.items()}


def edited(forge: Forge, good: str, house: House) -> dict[str, str]:
    """With the signature of the token before the change."""
    signature = base64.urlsafe_b64decode(good.rpartition(".")[2] + "==")
    changes: dict[str, Json] = {
        "role edited in": {"role": "owner"},
        "practice edited": {"tid": str(uuid4())},
        "user edited": {"sub": str(house.owner.user_id), "sid": str(house.owner.session_id)},
        "life made longer": {"exp": forge.claims["exp"] + 86_400},
    }
    return {name: forge.make(claims=change, sign=lambda _: signature) for name, change in changes.items()}


def shapes(forge: Forge, good: str) -> dict[str, str]:
    head, body, signature = good.split(".")
    return {
        "empty signature": f"{head}.{body}.",
        "no signature": f"{head}.{body}",
        "one bit of the signature": f"{head}.{body}.{('B' if signature[0] == 'A' else 'A') + signature[1:]}",
        "half a signature": f"{head}.{body}.{signature[:21]}",
        "no header": f".{body}.{signature}",
        "no payload": f"{head}..{signature}",
        "only dots": "..",
        "four parts": f"{good}.{signature}",
        "five parts, as of a JWE": f"{head}.{signature}.{signature}.{body}.{signature}",
        "payload that is a list": forge.raw(json.dumps(forge.header).encode(), b"[]"),
        "payload that is no JSON": forge.raw(json.dumps(forge.header).encode(), b"{"),
        "header that is no JSON": forge.raw(b"\xff\xfe", b"{}"),
        "header nested deep": forge.raw(b"[" * 1500, b"{}"),
        "standard base64": good.replace("_", "/").replace("-", "+") + "==",
        "two tokens": f"{good},{good}",
        "of 8,000 characters": good + "A" * (8000 - len(good)),
    }


async def other_secrets(db: Database, house: House) -> dict[str, str]:
    """Real secrets of the same user that are good for something else, and look-alikes."""
    refresh = Tokens.new_refresh()
    practice_id, user_id = house.practice.id, house.coach.user_id
    async with db.transaction() as connection:
        await connection.execute(
            "insert into refresh_tokens (token_hash, session_id) values ($1, $2)",
            hash_token(refresh),
            house.coach.session_id,
        )
        minted = {
            purpose.value: await mint_token(connection, purpose, practice_id=practice_id, user_id=user_id)
            for purpose in Purpose
        }
    foreign = Tokens(FOREIGN_SECRET).issue_access(
        user_id=user_id, practice_id=practice_id, session_id=house.coach.session_id
    )
    return {
        "of another installation": foreign,
        "a refresh token": refresh,
        **{f"a token of {purpose}": token for purpose, token in minted.items()},
        "an API key that nobody made": f"wk_abcdefgh_{Tokens.new_refresh()}",
        "half an API key": "wk_",
        "a user's id": str(house.coach.user_id),
    }
