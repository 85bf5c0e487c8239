"""Settings, read once from the environment. Nothing else in Wellio reads the environment."""

import base64
import binascii
import ipaddress
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parseaddr
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from wellio.errors import StartupError
from wellio.outgoing import OutgoingRules

ROOT = Path(__file__).parent.parent
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ENVIRONMENTS = ("development", "production")
LOG_LEVELS = ("debug", "info", "warning", "error")
MIN_SECRET_BYTES = 32
ENCRYPTION_KEY_BYTES = 32
KEY_ID = re.compile(r"[a-z0-9_-]{1,32}")
WEAK_SECRETS = ("change", "secret", "password", "example", "wellio")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Each field is an environment variable of the same name in capitals; `.env.example` explains them."""

    env: str
    host: str
    port: int
    database_url: str | None
    redis_url: str | None
    jwt_secret: str
    cors_origin: tuple[str, ...]
    data_dir: Path
    demo: bool
    log_level: str
    migration_database_url: str | None = None
    jwt_secret_previous: str = ""
    encryption_keys: Mapping[str, bytes] = field(default_factory=dict)
    public_url: str = ""
    smtp_url: str | None = None
    mail_from: str = "Wellio <no-reply@localhost>"
    trusted_proxies: tuple[Network, ...] = ()
    rate_limit_scale: float = 1.0
    jitsi_url: str = "https://meet.jit.si"
    jitsi_room_secret: str = ""
    jitsi_app_id: str = ""
    jitsi_app_secret: str = ""
    outgoing_loopback: bool = False

    @property
    def production(self) -> bool:
        return self.env == "production"

    @property
    def keeps_mails(self) -> bool:
        """Whether mails go nowhere but into the data folder, to be read at /mailbox."""
        return not self.production and self.smtp_url is None

    @property
    def outgoing(self) -> OutgoingRules:
        """What webhooks and calendars may call."""
        return OutgoingRules(loopback=self.outgoing_loopback)


def read_config(environ: Mapping[str, str]) -> Config:
    """The settings, or StartupError with one line per setting that is wrong."""
    problems: list[str] = []
    reader = _Reader(environ, problems)
    env = reader.choice("WELLIO_ENV", ENVIRONMENTS, "development")
    data_dir = Path(reader.text("WELLIO_DATA_DIR", "var")).expanduser()
    config = Config(
        env=env,
        host=reader.text("HOST", "127.0.0.1"),
        port=reader.port("PORT", 3000),
        database_url=reader.url("DATABASE_URL", ("postgresql", "postgres")),
        redis_url=reader.url("REDIS_URL", ("redis", "rediss", "unix")),
        jwt_secret=reader.text("JWT_SECRET", ""),
        cors_origin=reader.origins("CORS_ORIGIN"),
        data_dir=data_dir,
        demo=reader.flag("WELLIO_DEMO", default=env != "production"),
        log_level=reader.choice("LOG_LEVEL", LOG_LEVELS, "info"),
        migration_database_url=reader.url("MIGRATION_DATABASE_URL", ("postgresql", "postgres")),
        jwt_secret_previous=reader.text("JWT_SECRET_PREVIOUS", ""),
        encryption_keys=reader.keys("ENCRYPTION_KEYS"),
        public_url=reader.public_url("PUBLIC_URL"),
        smtp_url=reader.smtp_url("SMTP_URL"),
        mail_from=reader.sender("MAIL_FROM", "Wellio <no-reply@localhost>"),
        trusted_proxies=reader.networks("TRUSTED_PROXIES"),
        rate_limit_scale=reader.positive("RATE_LIMIT_SCALE", 1.0),
        jitsi_url=reader.public_url("JITSI_URL") or "https://meet.jit.si",
        jitsi_room_secret=reader.text("JITSI_ROOM_SECRET", ""),
        jitsi_app_id=reader.text("JITSI_APP_ID", ""),
        jitsi_app_secret=reader.text("JITSI_APP_SECRET", ""),
        outgoing_loopback=reader.flag("OUTGOING_LOOPBACK", default=False),
    )
    if config.production:
        problems += _production_problems(config)
    secrets = {
        "JWT_SECRET": config.jwt_secret,
        "JWT_SECRET_PREVIOUS": config.jwt_secret_previous,
        "JITSI_ROOM_SECRET": config.jitsi_room_secret,
    }
    for name, secret in secrets.items():
        if secret:
            problems += _secret_problems(name, secret)
    if bool(config.jitsi_app_id) != bool(config.jitsi_app_secret):
        problems.append("JITSI_APP_ID and JITSI_APP_SECRET go together: set both, or neither.")
    if problems:
        raise StartupError("\n".join(problems))
    return config


def load_config() -> Config:
    """The settings of this process: its environment, and below it the .env file of the project folder."""
    config = read_config({**read_env_file(ROOT / ".env"), **os.environ})
    return replace(config, data_dir=(ROOT / config.data_dir).resolve())


def read_api_key() -> str:
    """WELLIO_API_KEY: what commands that talk to a Wellio elsewhere are let in by; not a setting of the server."""
    return {**read_env_file(ROOT / ".env"), **os.environ}.get("WELLIO_API_KEY", "").strip()


def development_secret(data_dir: Path, name: str = "jwt_secret") -> str:
    """A secret of a development instance: made once, kept in the data folder, readable by its owner only."""
    path = data_dir / name
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: a kill in between must not leave an empty secret to start with.
        draft = data_dir / f".{name}.{secrets.token_hex(8)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(64))
        draft.rename(path)
    return path.read_text().strip()


def development_encryption_keys(data_dir: Path) -> Mapping[str, bytes]:
    """The one key of a development instance, kept beside its signing key."""
    return {"development": sha256(development_secret(data_dir, "encryption_key").encode()).digest()}


def encryption_keys_of(config: Config) -> Mapping[str, bytes]:
    """Those that are set, or the development instance's own."""
    return config.encryption_keys or development_encryption_keys(config.data_dir)


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of an .env file; blank lines and # comments are passed over. No file, no settings."""
    if not path.exists():
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator or not name.strip().isidentifier():
            raise StartupError(f"{path} line {number}: expected NAME=value.")
        values[name.strip()] = value.strip().strip("'\"")
    return values


class _Reader:
    """Reads typed values and gathers every complaint, so that one start tells them all."""

    def __init__(self, environ: Mapping[str, str], problems: list[str]) -> None:
        self._environ = environ
        self._problems = problems

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name, "").strip() or default

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.text(name, default).lower()
        if value not in choices:
            self._problems.append(f"{name} is {value!r}: use one of {', '.join(choices)}.")
            return default
        return value

    def port(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not value.isdecimal() or int(value) > 65535:
            self._problems.append(f"{name} is {value!r}: use a number from 0 (any free port) to 65535.")
            return default
        return int(value)

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name, "1" if default else "0").lower()
        if value not in ("0", "1", "true", "false"):
            self._problems.append(f"{name} is {value!r}: use 1 or 0.")
        return value in ("1", "true")

    def url(self, name: str, schemes: tuple[str, ...]) -> str | None:
        value = self.text(name, "")
        if value and urlsplit(value).scheme not in schemes:
            # The value is not repeated: it may hold a password.
            self._problems.append(f"{name} must begin with {' or '.join(s + '://' for s in schemes)}.")
        return value or None

    def smtp_url(self, name: str) -> str | None:
        """`smtp://` or `smtps://` with a host, perhaps a port and a log-in, and perhaps `?tls=no`."""
        value = self.url(name, ("smtp", "smtps"))
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            well = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            well = False
        if not well or parts.path.strip("/") or parts.query not in ("", "tls=no") or parts.fragment:
            # The value is not repeated: it may hold a password.
            self._problems.append(
                f"{name} can't be read: write smtp://user:password@host:587, with what is special in user and password "
                "percent-encoded; only ?tls=no may follow."
            )
        return value

    def sender(self, name: str, default: str) -> str:
        """An address, with or without a name before it."""
        value = self.text(name, default)
        address = parseaddr(value)[1]
        if not value.isprintable() or not re.fullmatch(r"[^@\s<>]+@[A-Za-z0-9.-]+", address):
            self._problems.append(f"{name} is {value!r}: write Wellio <no-reply@example.com>.")
        return value

    def origins(self, name: str) -> tuple[str, ...]:
        values = tuple(v.strip().rstrip("/") for v in self.text(name, "").split(",") if v.strip())
        for value in values:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.netloc or parts.path:
                self._problems.append(f"{name}: {value!r} is not an origin; write https://app.example.com.")
        return values

    def public_url(self, name: str) -> str:
        """The address that links in mails begin with; empty: where it listens."""
        value = self.text(name, "").rstrip("/")
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment):
            self._problems.append(f"{name} is {value!r}: write the address people use, https://wellio.example.com.")
        return value

    def keys(self, name: str) -> Mapping[str, bytes]:
        """`id:base64` of 32 bytes each, separated by commas; the first one seals."""
        keys: dict[str, bytes] = {}
        for entry in filter(None, (part.strip() for part in self.text(name, "").split(","))):
            key_id, _, encoded = entry.partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                key = b""
            if not KEY_ID.fullmatch(key_id) or len(key) != ENCRYPTION_KEY_BYTES or key_id in keys:
                # The entry is not repeated: it is a secret.
                self._problems.append(
                    f"{name}: entry {len(keys) + 1} is not id:key; write e.g. k1: and then openssl rand -base64 32, "
                    "each id once."
                )
                return {}
            keys[key_id] = key
        return keys

    def networks(self, name: str) -> tuple[Network, ...]:
        """Addresses or CIDR ranges, separated by commas."""
        networks: list[Network] = []
        for entry in filter(None, (part.strip() for part in self.text(name, "").split(","))):
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                self._problems.append(f"{name}: {entry!r} is not an address or a range such as 10.0.0.0/8.")
        return tuple(networks)

    def positive(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= 1_000_000:
            self._problems.append(f"{name} is {value!r}: use a number above 0, such as 1 or 0.5.")
            return default
        return number


def _production_problems(config: Config) -> list[str]:
    problems = [
        f"{name} is not set: production needs it."
        for name, value in (
            ("DATABASE_URL", config.database_url),
            ("REDIS_URL", config.redis_url),
            ("SMTP_URL", config.smtp_url),
            ("PUBLIC_URL", config.public_url),
        )
        if not value
    ]
    if config.outgoing_loopback:
        problems.append("OUTGOING_LOOPBACK is 1: production calls nothing on its own machine; leave it out.")
    if not config.encryption_keys:
        problems.append("ENCRYPTION_KEYS is not set: production needs one: k1: and then openssl rand -base64 32.")
    if not config.jwt_secret:
        problems.append("JWT_SECRET is not set: production needs at least 32 random bytes (openssl rand -base64 48).")
    return problems


def _secret_problems(name: str, secret: str) -> list[str]:
    if len(secret.encode()) < MIN_SECRET_BYTES:
        return [f"{name} is too short: use at least {MIN_SECRET_BYTES} random bytes (openssl rand -base64 48)."]
    if len(set(secret)) < 10 or any(word in secret.lower() for word in WEAK_SECRETS):
        return [f"{name} looks like a placeholder: use random bytes (openssl rand -base64 48)."]
    return []
