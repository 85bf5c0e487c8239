"""One-time passwords: RFC 6238's vectors, its window, and that a code serves once."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellio.accounts.totp import STEP_S, base32_of, code_of, find_step, otpauth_uri, step_at

RFC_SECRET = b"12345678901234567890"
SECRETS = st.binary(min_size=20, max_size=20)
TIMES = st.integers(0, 4_000_000_000)


@pytest.mark.parametrize(
    ("time_s", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_are_those_of_rfc_6238(time_s: int, code: str) -> None:
    assert code_of(RFC_SECRET, step_at(time_s), digits=8) == code
    assert code_of(RFC_SECRET, step_at(time_s)) == code[-6:]


@pytest.mark.parametrize(
    ("count", "code"), list(enumerate(["755224", "287082", "359152", "969429", "338314", "254676"]))
)
def test_codes_are_those_of_rfc_4226(count: int, code: str) -> None:
    assert code_of(RFC_SECRET, count) == code


@given(SECRETS, TIMES, st.integers(-5, 5))
def test_code_is_good_in_its_step_and_those_beside_it(secret: bytes, now_s: int, away: int) -> None:
    step = max(0, step_at(now_s) + away)
    near = {code_of(secret, s) for s in range(max(0, step_at(now_s) - 1), step_at(now_s) + 2)}
    found = find_step(secret, code_of(secret, step), now_s=now_s, after=-1)
    assert (found is not None) == (code_of(secret, step) in near)
    if abs(step - step_at(now_s)) <= 1:
        assert found is not None
        assert code_of(secret, found) == code_of(secret, step)


@given(SECRETS, TIMES, st.lists(st.tuples(st.integers(0, 90), st.integers(-2, 2)), max_size=30))
def test_code_serves_at_most_once_in_any_order_of_use(secret: bytes, start_s: int, uses: list[tuple[int, int]]) -> None:
    """Codes of steps before and after now, typed again and again while time goes on."""
    now_s, last, served = start_s, -1, []
    for later_s, away in uses:
        now_s += later_s
        code = code_of(secret, max(0, step_at(now_s) + away))
        step = find_step(secret, code, now_s=now_s, after=last)
        if step is not None:
            assert step > last
            assert abs(step - step_at(now_s)) <= 1
            served.append(step)
            last = step
    assert len(set(served)) == len(served)


@given(SECRETS, TIMES, st.text(max_size=12))
def test_what_is_no_code_is_of_no_step(secret: bytes, now_s: int, text: str) -> None:
    near = {code_of(secret, s) for s in range(max(0, step_at(now_s) - 1), step_at(now_s) + 2)}
    assert (find_step(secret, text, now_s=now_s, after=-1) is not None) == (text in near)


@given(SECRETS, st.emails())
def test_uri_says_what_an_app_needs(secret: bytes, email: str) -> None:
    uri = urlsplit(otpauth_uri(secret, email))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    said = {name: values[0] for name, values in parse_qs(uri.query).items()}
    assert said == {
        "secret": base32_of(secret), "issuer": "Wellio", "algorithm": "SHA1", "digits": "6", "period": str(STEP_S),
    }  # fmt: skip
    assert base64.b32decode(said["secret"]) == secret
