"""What may be a password, and that all of it counts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellio.accounts.common_passwords import is_guessed_first
from wellio.accounts.passwords import MAX_BYTES, MAX_CHARS, Passwords, check_new_password
from wellio.errors import Invalid

KNOWN = ("Olga Owner", "olga.owner@example.org", "Northside Coaching")

# Of the most common passwords, those of eight characters and more.
COMMON = (
    "password", "12345678", "baseball", "football", "jennifer", "superman", "trustno1", "123456789", "sunshine",
    "11111111", "corvette", "princess", "midnight", "butthead", "liverpoo", "redskins", "qwertyui", "xxxxxxxx",
    "88888888", "asdfasdf", "jordan23", "69696969", "87654321", "passw0rd", "1q2w3e4r", "asdfghjk", "password1",
    "1qaz2wsx", "abcd1234", "swordfis", "blink182", "aaaaaaaa", "spiderma", "ncc1701d", "testtest", "michael1",
    "letmein1", "changeme", "charlie1", "21122112", "q1w2e3r4", "12341234", "access14", "asdf1234",
    "1234567890", "12121212", "basketba", "99999999", "1234qwer", "98765432", "77777777", "abcdefgh",
    "51505150", "babylon5", "yankees1", "fredfred", "wordpass", "jessica1", "letmein2", "freedom1", "fuckyou2",
    "22222222", "1passwor", "11223344", "welcome1",
)  # fmt: skip

VARIED = (
    "passwordpassword", "P@ssw0rd123456789", "Password2026!!!!", "qwertyuiopasdfg", "aaaaaaaaaaaaaaa",
    "abcabcabcabcabc",
    "123456789012345", "iloveyouforever1", "!!!!sunshine2026", "Superman-Princess", "19871224 19871224",
    "pässwördpässwörd",
    "2026-liverpool-2026",
)  # fmt: skip
OF_THE_USER = (
    "olgaowner2026!!!",
    "NorthsideCoaching1",
    "wellio2026wellio",
    "Olga.Owner.Northside",
    "my wellio 12345678",
)
GOOD = (
    "correct horse battery",
    "ten thousand small lanterns",
    "monkey dragon summer pizza",
    "kV9#wq!2Lz0pXt7",
    "         tea please",
)


async def refused(password: str, *, second_factor: bool = False) -> bool:
    try:
        await check_new_password(password, known=KNOWN, second_factor=second_factor)
    except Invalid:
        return True
    return False


@pytest.mark.parametrize("password", COMMON)
async def test_common_password_is_refused_beside_a_second_factor(password: str) -> None:
    assert await refused(password, second_factor=True)


@pytest.mark.parametrize("password", [*VARIED, *OF_THE_USER])
async def test_variation_of_common_words_or_of_the_user_is_refused(password: str) -> None:
    assert len(password) >= 15
    assert await refused(password)


@pytest.mark.parametrize("password", GOOD)
async def test_words_that_nobody_puts_together_are_taken(password: str) -> None:
    assert not await refused(password)


async def test_length_counts_in_characters_and_less_beside_a_second_factor() -> None:
    assert await refused("grünes Ufer 74")
    assert not await refused("grünes Ufer 743")
    assert not await refused("Ufer#7vq", second_factor=True)
    assert await refused("Ufer#7v", second_factor=True)


async def test_size_has_limits() -> None:
    long = ("ten thousand small lanterns " * 10)[:MAX_CHARS]
    assert not await refused(long)
    assert await refused(long + "x")
    assert not await refused(("ąć💡zq" * 52)[:200])
    assert await refused("💡" * (MAX_BYTES // 4 + 1))
    assert await refused("correct horse\0battery")
    assert await refused("correct horse \ud800battery")


async def test_password_is_the_same_however_its_letters_are_composed() -> None:
    passwords = Passwords(memory_kib=8, passes=1)
    composed, decomposed = (unicodedata.normalize(form, "grüne Bäume überall") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert await passwords.verify(await passwords.hash(decomposed), composed)
    assert await passwords.verify(await passwords.hash(composed), decomposed)


@pytest.mark.parametrize("other", ["x" * 72 + "b" * 8, "x" * 72, " " + "x" * 72 + "a" * 8, "X" * 72 + "a" * 8])
async def test_every_character_counts(other: str) -> None:
    passwords = Passwords(memory_kib=8, passes=1)
    stored = await passwords.hash("x" * 72 + "a" * 8)
    assert await passwords.verify(stored, "x" * 72 + "a" * 8)
    assert not await passwords.verify(stored, other)


@pytest.mark.parametrize("password", ["\ud800" * 15, "\0" * 15, "a" * 1_000_000, ""])
async def test_what_can_be_no_password_matches_nobodys(password: str) -> None:
    passwords = Passwords(memory_kib=8, passes=1)
    assert not await passwords.verify(await passwords.hash("correct horse battery"), password)
    assert not await passwords.verify(None, password)


@given(st.text(max_size=80), st.lists(st.text(max_size=30), max_size=3))
def test_any_text_can_be_judged(password: str, known: list[str]) -> None:
    assert is_guessed_first(password, known) in (True, False)


@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=20))
def test_what_repeats_a_refused_password_is_refused(password: str) -> None:
    if is_guessed_first(password):
        assert is_guessed_first(password * 2)
