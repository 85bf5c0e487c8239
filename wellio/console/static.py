"""/static: the files of wellio/static, with addresses that change when a file does."""

from hashlib import sha256
from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent.parent / "static"
PREFIX = "/static"
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"

# Read once, when the module is: what there is, and digests of what pages refer to.
FILES = {str(path.relative_to(STATIC)): path for path in STATIC.rglob("*") if path.is_file()}
DIGESTS = {
    str(path.relative_to(STATIC)): sha256(path.read_bytes()).hexdigest()[:12]
    for path in STATIC.rglob("*")
    if path.suffix in (".css", ".js", ".svg")
}


def add_static(app: web.Application) -> None:
    app.router.add_get(PREFIX + "/{path:.+}", get_static)
    app.on_response_prepare.append(_set_cache_control)


async def get_static(request: web.Request) -> web.FileResponse:
    """Looked up among the files there are: no path is made of what a caller sends."""
    path = FILES.get(request.match_info["path"])
    if path is None:
        raise web.HTTPNotFound
    return web.FileResponse(path)


def asset(path: str) -> str:
    """The address of a file, with its content's digest: it may be kept for ever."""
    return f"{PREFIX}/{path}?v={DIGESTS[path]}"


async def _set_cache_control(request: web.Request, response: web.StreamResponse) -> None:
    if request.path.startswith(f"{PREFIX}/") and response.status in (200, 206, 304):
        response.headers["Cache-Control"] = FOR_EVER if "v" in request.query else ASK_FIRST
