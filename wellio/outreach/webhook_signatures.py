"""Secrets and signatures of webhooks, by Standard Webhooks (github.com/standard-webhooks, spec 1.0)."""

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from hashlib import sha256

FORM = "whsec_"
SECRET_BYTES = 32


def make_secret() -> str:
    """`whsec_` and 32 random bytes in base64."""
    return FORM + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature_headers(delivery_id: str, timestamp: int, body: bytes, signed_with: Iterable[str]) -> dict[str, str]:
    """One signature for each secret: whoever knows one of them can check. `timestamp` in Unix seconds."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    signatures = [f"v1,{b64encode(_digest(secret, signed)).decode()}" for secret in signed_with]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _digest(secret: str, signed: bytes) -> bytes:
    return hmac.digest(b64decode(secret.removeprefix(FORM)), signed, sha256)
