"""What adapters need, built once by `app.py` and handed round under one key."""

from dataclasses import dataclass

from aiohttp import web
from redis.asyncio import Redis

from wellio.accounts.passwords import Passwords
from wellio.accounts.tokens import Tokens
from wellio.audit import AuditWriter
from wellio.chat.messages import MessageWriter
from wellio.config import Config
from wellio.db import Database
from wellio.http_limits import HttpLimits
from wellio.limits import Limits
from wellio.live import Live
from wellio.metrics import Metrics
from wellio.outbox import Outbox
from wellio.outreach.mailbox import Mailbox
from wellio.practice.crowds import Bookings
from wellio.practice.exports import Exports
from wellio.practice.outlook import Forecasts
from wellio.practice.upload_files import UploadFiles
from wellio.sealing import Sealer


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """`mailbox`: where mails stay in development without SMTP_URL."""

    config: Config
    db: Database
    outbox: Outbox
    live: Live
    redis: Redis
    passwords: Passwords
    tokens: Tokens
    messages: MessageWriter
    bookings: Bookings
    uploads: UploadFiles
    exports: Exports
    forecasts: Forecasts
    metrics: Metrics
    sealer: Sealer
    limits: Limits
    audit: AuditWriter
    http: HttpLimits
    mailbox: Mailbox | None = None


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
