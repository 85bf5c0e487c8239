"""`python -m wellio`, which is what `bin/up` and the image run: settings, servers, migrations, demo, serve."""

import asyncio
import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from wellio.config import Config, development_secret, encryption_keys_of, load_config
from wellio.errors import StartupError


def main() -> None:
    try:
        _run(load_config())
    except StartupError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"wellio: {line}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run(config: Config) -> None:
    # Imported here: a wrong setting is told before a second is spent on loading libraries.
    from wellio.logs import set_up_logging

    set_up_logging(config.log_level, json=config.production or not sys.stderr.isatty())
    _refuse_busy_port(config)
    with ExitStack() as stack:
        started = _start_servers(config, stack)
        asyncio.run(_serve(started))


@dataclass(frozen=True, slots=True)
class Started:
    """Settings with nothing left open, and where data and logs lie."""

    config: Config
    data_dir: Path | None
    log_dir: Path | None


def _start_servers(config: Config, stack: ExitStack) -> Started:
    """Embedded PostgreSQL and Redis for those whose URLs are not set (development only)."""
    data_dir = log_dir = None
    if not (config.database_url and config.redis_url):
        from wellio.embedded import EmbeddedError, start

        try:
            embedded = start(config.data_dir, postgres=not config.database_url, redis=not config.redis_url)
        except EmbeddedError as error:
            raise StartupError(str(error)) from error
        running = stack.enter_context(embedded).running
        data_dir, log_dir = running.data_dir, running.log_dir
        config = replace(
            config,
            database_url=config.database_url or running.database_url,
            redis_url=config.redis_url or running.redis_url,
        )
    if not config.jwt_secret:
        config = replace(config, jwt_secret=development_secret(config.data_dir))
    config = replace(config, encryption_keys=encryption_keys_of(config))
    return Started(config, data_dir, log_dir)


async def _serve(started: Started) -> None:
    import asyncpg

    from wellio.app import serve
    from wellio.demo import load_demo
    from wellio.migrations import migrate

    config = started.config
    assert config.database_url
    try:
        await migrate(config.migration_database_url or config.database_url)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        # asyncpg's words name host, user and database, never the password
        raise StartupError(f"Can't use the database of DATABASE_URL: {error}") from error
    logins = await load_demo(config) if config.demo else ()

    def ready(host: str, port: int) -> None:
        sys.stdout.write(_banner(started, logins, host, port))
        sys.stdout.flush()

    await serve(config, ready)


def _banner(started: Started, logins: tuple[tuple[str, str, str], ...], host: str, port: int) -> str:
    address = f"http://{host}:{port}"
    lines = [f"ready {address}", "", f"  console  {address}/", f"  API      {address}/docs"]
    if started.config.keeps_mails:
        lines += [f"  mailbox  {address}/mailbox"]
    if logins:
        lines += ["", "  demo log-ins"]
        lines += [f"    {role:7} {email:28} {password}" for role, email, password in logins]
    if started.data_dir:
        lines += ["", f"  data     {started.data_dir}", f"  logs     {started.log_dir}"]
    return "\n".join([*lines, "", "  Ctrl-C stops everything; the data stays.", "", ""])


def _refuse_busy_port(config: Config) -> None:
    """Before anything is started: the usual mistake is a second `bin/up`."""
    if config.port == 0:
        return
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise StartupError(
                f"Can't listen on {config.host}:{config.port}: {error.strerror}. "
                "Stop what uses that port, or set PORT to another one (PORT=0 picks a free one)."
            ) from error


if __name__ == "__main__":
    main()
