"""Sealed values: whole, of their row, and of several keys side by side."""

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellio.sealing import SealBroken, Sealer, key_id_of

OLD, NEW = bytes(32), bytes(range(32))
COLUMN = "users.totp_secret"


@given(st.binary(max_size=200))
def test_what_is_sealed_opens_again(value: bytes) -> None:
    row_id = uuid4()
    sealed = Sealer({"new": NEW}).seal(value, column=COLUMN, row_id=row_id)
    assert len(value) < 8 or value not in sealed
    assert Sealer({"new": NEW}).unseal(sealed, column=COLUMN, row_id=row_id) == value


def test_value_of_another_row_or_column_does_not_open() -> None:
    sealer, row_id = Sealer({"new": NEW}), uuid4()
    sealed = sealer.seal(b"secret", column=COLUMN, row_id=row_id)
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, column=COLUMN, row_id=uuid4())
    with pytest.raises(SealBroken):
        sealer.unseal(sealed, column="notes.body", row_id=row_id)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_changed_value_does_not_open(at: int, change: int) -> None:
    sealer, row_id = Sealer({"new": NEW}), uuid4()
    sealed = bytearray(sealer.seal(b"secret", column=COLUMN, row_id=row_id))
    sealed[at % len(sealed)] ^= change
    with pytest.raises(SealBroken):
        sealer.unseal(bytes(sealed), column=COLUMN, row_id=row_id)


@given(st.binary(max_size=60))
def test_what_was_never_sealed_is_told_so(value: bytes) -> None:
    with pytest.raises(SealBroken):
        Sealer({"new": NEW}).unseal(value, column=COLUMN, row_id=uuid4())


def test_keys_live_side_by_side_and_the_first_seals() -> None:
    row_id = uuid4()
    before = Sealer({"old": OLD}).seal(b"secret", column=COLUMN, row_id=row_id)
    both = Sealer({"new": NEW, "old": OLD})
    assert both.unseal(before, column=COLUMN, row_id=row_id) == b"secret"
    assert key_id_of(both.seal(b"secret", column=COLUMN, row_id=row_id)) == "new"
    with pytest.raises(SealBroken, match="ENCRYPTION_KEYS"):
        Sealer({"new": NEW}).unseal(before, column=COLUMN, row_id=row_id)


@pytest.mark.parametrize("keys", [{}, {"short": b"x" * 31}])
def test_no_key_or_a_short_one_is_refused(keys: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(keys)
