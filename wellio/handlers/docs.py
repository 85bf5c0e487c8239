"""/openapi.json and its viewer at /docs, served from files of our own: nothing is fetched from elsewhere."""

from functools import cache
from pathlib import Path

import orjson
from aiohttp import web

from wellio.handlers.errors import CONTENT_TYPE
from wellio.handlers.openapi import openapi_document
from wellio.handlers.routes import Route

STATIC = Path(__file__).parent.parent / "static"
DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def add_docs(app: web.Application, routes: tuple[Route, ...]) -> None:
    document = _document(routes)

    async def get_openapi(request: web.Request) -> web.Response:
        return web.Response(body=document, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-cache"})

    app.router.add_get("/openapi.json", get_openapi)
    app.router.add_get("/docs", get_docs)


@cache
def _document(routes: tuple[Route, ...]) -> bytes:
    """Made when a process begins to serve, and once: it takes a tenth of a second."""
    return orjson.dumps(openapi_document(routes))


async def get_docs(request: web.Request) -> web.StreamResponse:
    """The document in Swagger UI."""
    return web.FileResponse(
        STATIC / "docs.html", headers={"Content-Security-Policy": DOCS_CSP, "Cache-Control": "no-cache"}
    )
