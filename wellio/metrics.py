"""Prometheus metrics of one process. Labels are route templates and fixed words, never ids or paths."""

import asyncio
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LOOP_PROBE_S = 0.25


class Metrics:
    """A registry of its own for each app, so that two apps in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._add_http()
        self._add_sockets()
        self._add_followers()
        self._add_mails()
        self._add_outgoing()
        self._add_process()

    def _add_http(self) -> None:
        """Requests, and the loop that serves them."""
        self.requests = Counter(
            "wellio_http_requests_total", "Requests served.", ("method", "route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "wellio_http_request_seconds",
            "Time to answer.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.loop_lag_seconds = Histogram(
            "wellio_event_loop_lag_seconds",
            "How late the event loop ran a timer.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )

    def _add_sockets(self) -> None:
        """Sockets, and the messages that come by them."""
        self.sockets = Gauge("wellio_sockets", "Connected Socket.IO clients.", registry=self.registry)
        self.socket_events = Counter(
            "wellio_socket_events_total", "Events from clients.", ("event", "outcome"), registry=self.registry
        )
        self.pushes = Counter("wellio_pushes_total", "Packets queued to sockets.", ("event",), registry=self.registry)
        self.dropped = Counter(
            "wellio_pushes_dropped_total", "Packets not queued, by reason.", ("reason",), registry=self.registry
        )
        self.messages = Counter("wellio_messages_total", "Messages stored.", registry=self.registry)
        self.message_batch = Histogram(
            "wellio_message_batch_size",
            "Messages stored by one transaction.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )

    def _add_followers(self) -> None:
        """Who follows the log, and the jobs."""
        self.consumed = Counter(
            "wellio_events_consumed_total", "Events taken from the log.", ("consumer",), registry=self.registry
        )
        self.consumer_lag_seconds = Gauge(
            "wellio_consumer_lag_seconds",
            "Age of the last event taken, when it was taken.",
            ("consumer",),
            registry=self.registry,
        )
        self.snapshots_refused = Counter(
            "wellio_learner_snapshots_refused_total",
            "Stored states of the learner that were damaged or of another version.",
            registry=self.registry,
        )
        self.job_runs = Counter("wellio_job_runs_total", "Runs of jobs.", ("job", "outcome"), registry=self.registry)

    def _add_mails(self) -> None:
        self.mails = Counter(
            "wellio_mails_total",
            "Attempts to send mails, by how they went.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.mails_waiting = Gauge(
            "wellio_mails_waiting", "Mails to be sent, told by the leader.", registry=self.registry
        )
        self.mail_oldest_seconds = Gauge(
            "wellio_mail_oldest_seconds",
            "Age of the oldest of them, told by the leader.",
            registry=self.registry,
        )

    def _add_outgoing(self) -> None:
        """Webhooks, and calendars elsewhere."""
        self.webhooks = Counter(
            "wellio_webhook_attempts_total",
            "Attempts to tell webhooks, by how they went.",
            ("outcome",),
            registry=self.registry,
        )
        self.webhooks_waiting = Gauge(
            "wellio_webhooks_waiting", "Deliveries that wait, told by the leader.", registry=self.registry
        )
        self.webhook_oldest_seconds = Gauge(
            "wellio_webhook_oldest_seconds",
            "Age of the oldest of them, told by the leader.",
            registry=self.registry,
        )
        self.calendars = Counter(
            "wellio_calendar_fetches_total",
            "Fetches of calendars elsewhere, by how they went.",
            ("outcome",),
            registry=self.registry,
        )

    def _add_process(self) -> None:
        """This process: its lead, its connections, what it could not keep."""
        self.audit_rows_lost = Counter(
            "wellio_audit_rows_lost_total", "Reads and denials that could not be recorded.", registry=self.registry
        )
        self.leader = Gauge("wellio_leader", "1 while this process runs consumers and jobs.", registry=self.registry)
        self.pool_connections = Gauge(
            "wellio_db_pool_connections", "Database connections.", ("state",), registry=self.registry
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)


async def probe_loop(metrics: Metrics) -> None:
    """Observes how late a timer fires, for as long as it is not cancelled."""
    loop = asyncio.get_running_loop()
    with suppress(asyncio.CancelledError):
        while True:
            due = loop.time() + LOOP_PROBE_S
            await asyncio.sleep(LOOP_PROBE_S)
            metrics.loop_lag_seconds.observe(max(0.0, loop.time() - due))
