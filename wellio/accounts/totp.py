"""Time-based one-time passwords: RFC 6238 with HMAC-SHA1, six digits and steps of 30 s, as authenticator apps have it.

A code is good in its step, the one before and the one after (clocks differ, people type slowly), and serves once: no
step up to the last one used is taken again (RFC 6238, 5.2).
"""

import base64
import hmac
from urllib.parse import quote, urlencode

SECRET_BYTES = 20  # RFC 4226, 4: as long as the hash
STEP_S = 30
DIGITS = 6
DRIFT_STEPS = 1
ISSUER = "Wellio"


def step_at(time_s: float) -> int:
    """The number of the step that a moment, in Unix seconds, lies in."""
    return int(time_s) // STEP_S


def code_of(secret: bytes, step: int, *, digits: int = DIGITS) -> str:
    """HOTP (RFC 4226, 5.3) of the step's number."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 0x0F
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def find_step(secret: bytes, code: str, *, now_s: float, after: int) -> int | None:
    """The step later than `after` that `code` is of; None when it is of none near now. Of two, the later one."""
    now = step_at(now_s)
    near = range(max(0, now - DRIFT_STEPS), now + DRIFT_STEPS + 1)
    # All are compared, in constant time each: how long it takes tells nothing.
    same = [step for step in near if hmac.compare_digest(code_of(secret, step).encode(), code.encode())]
    return max((step for step in same if step > after), default=None)


def base32_of(secret: bytes) -> str:
    """As authenticator apps take it by hand."""
    return base64.b32encode(secret).decode().rstrip("=")


def otpauth_uri(secret: bytes, account: str) -> str:
    """What the QR code says (Key Uri Format of Google Authenticator)."""
    parameters = {"secret": base32_of(secret), "issuer": ISSUER, "algorithm": "SHA1", "digits": DIGITS}
    return f"otpauth://totp/{ISSUER}:{quote(account)}?{urlencode({**parameters, 'period': STEP_S})}"
