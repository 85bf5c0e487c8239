"""/static: the files of wellio/static, with addresses that change when a file does."""

from hashlib import sha256
from pathlib import Path

from aiohttp import web

STATIC = Path(__file__).parent.parent / "static"
PREFIX = "/static"
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"

# Read once, when the module is: digests of what pages refer to.
DIGESTS = {
    str(path.relative_to(STATIC)): sha256(path.read_bytes()).hexdigest()[:12]
    for path in STATIC.rglob("*")
    if path.suffix in (".css", ".js", ".svg")
}


def add_static(app: web.Application) -> None:
    app.router.add_static(PREFIX, STATIC, follow_symlinks=False, show_index=False)
    app.on_response_prepare.append(_set_cache_control)


def asset(path: str) -> str:
    """The address of a file, with its content's digest: it may be kept for ever."""
    return f"{PREFIX}/{path}?v={DIGESTS[path]}"


async def _set_cache_control(request: web.Request, response: web.StreamResponse) -> None:
    if request.path.startswith(f"{PREFIX}/") and response.status in (200, 206, 304):
        response.headers["Cache-Control"] = FOR_EVER if "v" in request.query else ASK_FIRST
