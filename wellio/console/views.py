"""The console's addresses."""

from aiohttp import web

from wellio.console import second_factor, team
from wellio.console.account import (
    get_account,
    post_address,
    post_device_sign_out,
    post_password,
    post_profile,
    post_sign_out_everywhere,
    post_verification,
)
from wellio.console.home import get_home, post_session_token
from wellio.console.invitation import get_invitation, post_invitation
from wellio.console.links import (
    get_forgot_password,
    get_reset_password,
    get_verify_email,
    post_forgot_password,
    post_reset_password,
    post_verify_email,
)
from wellio.console.mailbox import add_mailbox
from wellio.console.pages import add_templates, told_in_html
from wellio.console.sign_in import (
    get_register,
    get_sign_in,
    get_sign_in_code,
    post_register,
    post_sign_in,
    post_sign_in_code,
    post_sign_out,
)
from wellio.console.static import add_static
from wellio.console.step_up import get_confirm, post_confirm

VIEWS = (
    ("GET", "/", get_home),
    ("GET", "/sign-in", get_sign_in),
    ("POST", "/sign-in", post_sign_in),
    ("GET", "/sign-in/code", get_sign_in_code),
    ("POST", "/sign-in/code", post_sign_in_code),
    ("POST", "/sign-out", post_sign_out),
    ("GET", "/register", get_register),
    ("POST", "/register", post_register),
    ("GET", "/forgot-password", get_forgot_password),
    ("POST", "/forgot-password", post_forgot_password),
    ("GET", "/reset-password", get_reset_password),
    ("POST", "/reset-password", post_reset_password),
    ("GET", "/verify-email", get_verify_email),
    ("POST", "/verify-email", post_verify_email),
    ("GET", "/account", get_account),
    ("POST", "/account/profile", post_profile),
    ("POST", "/account/address", post_address),
    ("POST", "/account/verification", post_verification),
    ("POST", "/account/password", post_password),
    ("POST", "/account/devices/{device_id}/sign-out", post_device_sign_out),
    ("POST", "/account/sign-out-everywhere", post_sign_out_everywhere),
    ("GET", second_factor.HERE, second_factor.get_second_factor_page),
    ("POST", f"{second_factor.HERE}/enrol", second_factor.post_enrol),
    ("POST", f"{second_factor.HERE}/confirm", second_factor.post_first_code),
    ("POST", f"{second_factor.HERE}/recovery-codes", second_factor.post_recovery_codes),
    ("POST", f"{second_factor.HERE}/turn-off", second_factor.post_turn_off),
    ("GET", "/confirm", get_confirm),
    ("POST", "/confirm", post_confirm),
    ("GET", "/invitation", get_invitation),
    ("POST", "/invitation", post_invitation),
    ("GET", team.HERE, team.get_team),
    ("POST", "/team/invitations", team.post_invite),
    ("POST", "/team/invitations/{invitation_id}/resend", team.post_invitation_resend),
    ("POST", "/team/invitations/{invitation_id}/withdraw", team.post_invitation_withdraw),
    ("POST", "/team/{user_id}", team.post_member),
    ("POST", "/team/{user_id}/sign-out", team.post_member_sign_out),
)


def add_console(app: web.Application) -> None:
    add_templates(app)
    add_static(app)
    add_mailbox(app)
    for method, path, view in VIEWS:
        app.router.add_route(method, path, told_in_html(view))
    app.router.add_post("/session/token", post_session_token)  # for a script: fails in JSON
