"""Sealing: encryption at rest of single values, bound to the row that holds them.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce. The additional data names table, column and row, so that a
sealed value copied into another row does not open there. The form is `version | length of key id | key id | nonce |
ciphertext and tag`: by the key id, values of several keys live side by side while they are sealed anew.
"""

import secrets
from collections.abc import Mapping
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = 1
NONCE_BYTES = 12
KEY_BYTES = 32


class SealBroken(Exception):
    """The value was changed, belongs to another row, or was sealed with a key that is not known (any more)."""


class Sealer:
    """`keys` by their ids; the first seals, all of them open. Raises ValueError for a key of another length."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"a sealer needs keys of {KEY_BYTES} bytes")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.key_ids = tuple(keys)
        self.key_id = self.key_ids[0]

    def seal(self, value: bytes, *, column: str, row_id: UUID) -> bytes:
        """`column` is `table.column`."""
        key_id, nonce = self.key_id.encode(), secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[self.key_id].encrypt(nonce, value, _bound_to(column, row_id))
        return bytes([VERSION, len(key_id)]) + key_id + nonce + sealed

    def unseal(self, sealed: bytes, *, column: str, row_id: UUID) -> bytes:
        """Raises SealBroken."""
        key_id = key_id_of(sealed)
        if key_id not in self._ciphers:
            raise SealBroken(f"sealed with the key {key_id!r}, which ENCRYPTION_KEYS does not name")
        at = 2 + sealed[1]
        nonce, ciphertext = sealed[at : at + NONCE_BYTES], sealed[at + NONCE_BYTES :]
        try:
            return self._ciphers[key_id].decrypt(nonce, ciphertext, _bound_to(column, row_id))
        except (InvalidTag, ValueError):
            raise SealBroken("changed, or of another row") from None


def key_id_of(sealed: bytes) -> str:
    """Raises SealBroken for what was never sealed."""
    if len(sealed) < 2 or sealed[0] != VERSION or len(sealed) < 2 + sealed[1] + NONCE_BYTES:
        raise SealBroken("not in the form of sealed values")
    return sealed[2 : 2 + sealed[1]].decode("ascii", "replace")


def _bound_to(column: str, row_id: UUID) -> bytes:
    return f"{column}:{row_id}".encode()
