"""The console's addresses."""

from aiohttp import web

from wellio.console.home import get_home, post_session_token
from wellio.console.mailbox import add_mailbox
from wellio.console.pages import add_templates, told_in_html
from wellio.console.sign_in import get_register, get_sign_in, post_register, post_sign_in, post_sign_out
from wellio.console.static import add_static


def add_console(app: web.Application) -> None:
    add_templates(app)
    add_static(app)
    add_mailbox(app)
    app.router.add_get("/", told_in_html(get_home))
    app.router.add_get("/sign-in", told_in_html(get_sign_in))
    app.router.add_post("/sign-in", told_in_html(post_sign_in))
    app.router.add_post("/sign-out", told_in_html(post_sign_out))
    app.router.add_get("/register", told_in_html(get_register))
    app.router.add_post("/register", told_in_html(post_register))
    app.router.add_post("/session/token", post_session_token)  # for a script: fails in JSON
