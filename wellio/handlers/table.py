"""All routes of the REST API, noun by noun."""

from wellio.handlers import (
    addresses,
    api_keys,
    audit,
    auth,
    availability,
    clients,
    conversations,
    devices,
    home,
    invitations,
    members,
    messages,
    mfa,
    password_changes,
    payments,
    predictions,
    session_types,
    sessions,
)
from wellio.handlers.routes import Route

ROUTES: tuple[Route, ...] = (
    *auth.ROUTES,
    *mfa.ROUTES,
    *api_keys.ROUTES,
    *password_changes.ROUTES,
    *addresses.ROUTES,
    *devices.ROUTES,
    *invitations.ROUTES,
    *members.ROUTES,
    *clients.ROUTES,
    *sessions.ROUTES,
    *session_types.ROUTES,
    *availability.ROUTES,
    *payments.ROUTES,
    *predictions.ROUTES,
    *home.ROUTES,
    *conversations.ROUTES,
    *messages.ROUTES,
    *audit.ROUTES,
)
