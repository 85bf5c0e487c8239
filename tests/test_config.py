"""Settings: read once, checked at start, and told apart clearly."""

from pathlib import Path

import pytest

from wellio.config import read_config, read_env_file
from wellio.errors import StartupError

GOOD_SECRET = "q8Wn2vZr5Tb7Yk1Lx4Pd9Gh3Jm6Sf0Ac"
PRODUCTION = {
    "WELLIO_ENV": "production",
    "DATABASE_URL": "postgresql://wellio@db/wellio",
    "REDIS_URL": "redis://redis:6379",
    "JWT_SECRET": GOOD_SECRET,
    "ENCRYPTION_KEYS": "k1:" + "A" * 43 + "=",
    "SMTP_URL": "smtp://mail:25",
    "PUBLIC_URL": "https://wellio.example.org",
}


def test_empty_environment_is_a_development_instance() -> None:
    config = read_config({})
    assert (config.env, config.host, config.port, config.demo) == ("development", "127.0.0.1", 3000, True)
    assert config.database_url is None


def test_empty_value_is_as_good_as_none() -> None:
    assert read_config({"DATABASE_URL": "", "PORT": " "}) == read_config({})


def test_production_needs_and_takes_real_settings() -> None:
    config = read_config(PRODUCTION)
    assert config.production
    assert not config.demo
    for name in ("DATABASE_URL", "REDIS_URL", "JWT_SECRET", "ENCRYPTION_KEYS", "SMTP_URL", "PUBLIC_URL"):
        with pytest.raises(StartupError, match=f"{name} is not set"):
            read_config({k: v for k, v in PRODUCTION.items() if k != name})


def test_production_calls_nothing_on_its_own_machine() -> None:
    assert not read_config(PRODUCTION).outgoing.loopback
    assert read_config({"OUTGOING_LOOPBACK": "1"}).outgoing.loopback
    with pytest.raises(StartupError, match="OUTGOING_LOOPBACK"):
        read_config(PRODUCTION | {"OUTGOING_LOOPBACK": "1"})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "http", "PORT is 'http'"),
        ("PORT", "70000", "0 .any free port. to 65535"),
        ("PORT", "-1", "PORT is '-1'"),
        ("WELLIO_ENV", "staging", "development, production"),
        ("LOG_LEVEL", "loud", "debug, info"),
        ("WELLIO_DEMO", "maybe", "use 1 or 0"),
        ("DATABASE_URL", "mysql://root:hunter2@db", "postgresql://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("CORS_ORIGIN", "*", "not an origin"),
        ("CORS_ORIGIN", "https://a.example/path", "not an origin"),
        ("JWT_SECRET", "short", "too short"),
        ("JWT_SECRET", "secret" * 10, "placeholder"),
        ("JWT_SECRET", "a" * 64, "placeholder"),
        ("JWT_SECRET_PREVIOUS", "short", "too short"),
        ("ENCRYPTION_KEYS", "hunter2", "entry 1 is not id:key"),
        ("ENCRYPTION_KEYS", "k1:hunter2", "entry 1 is not id:key"),
        ("ENCRYPTION_KEYS", f"k1:{'A' * 43}=,k1:{'A' * 43}=", "entry 2 is not id:key"),
        ("SMTP_URL", "smtp://user:hunter2@", "SMTP_URL can't be read"),
        ("SMTP_URL", "smtp://user:hunter2@mail:port", "SMTP_URL can't be read"),
        ("SMTP_URL", "smtp://user:hunter2@mail?tls=maybe", "SMTP_URL can't be read"),
        ("SMTP_URL", "smtp://user:hunter2/x@mail", "percent-encoded"),
        ("MAIL_FROM", "Wellio", "MAIL_FROM is"),
        ("MAIL_FROM", "Wellio <no reply@x>", "MAIL_FROM is"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, proxy", "'proxy' is not an address"),
        ("RATE_LIMIT_SCALE", "0", "number above 0"),
        ("RATE_LIMIT_SCALE", "nan", "number above 0"),
        ("SMTP_URL", "mail.example.org", "smtp://"),
        ("PUBLIC_URL", "wellio.example.org", "https://wellio.example.com"),
    ],
)
def test_wrong_value_is_named_with_what_is_right(name: str, value: str, says: str) -> None:
    with pytest.raises(StartupError, match=says) as raised:
        read_config({name: value})
    assert name in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(StartupError) as raised:
        read_config({"PORT": "x", "LOG_LEVEL": "y", "WELLIO_ENV": "production"})
    assert len(str(raised.value).splitlines()) == 8


def test_env_file_gives_values_and_names_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    assert read_env_file(path) == {}
    path.write_text("# a comment\n\nPORT=3001\nJWT_SECRET='a=b'\n")
    assert read_env_file(path) == {"PORT": "3001", "JWT_SECRET": "a=b"}
    path.write_text("PORT=3001\nnonsense\n")
    with pytest.raises(StartupError, match="line 2"):
        read_env_file(path)
