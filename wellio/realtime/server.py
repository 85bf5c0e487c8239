"""Socket.IO on /socket.io/."""

from aiohttp import web

from wellio.services import Services


class Realtime:
    """`attach` before the app is frozen; `start` when its services are open; `stop` drains."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def attach(self, app: web.Application) -> None:
        """Adds the route."""

    async def start(self) -> None:
        """Connects to the other processes."""

    async def stop(self) -> None:
        """Tells devices to reconnect elsewhere, closes their sockets, and ends."""
