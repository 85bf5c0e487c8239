"""All routes of the REST API, noun by noun."""

from wellio.handlers import (
    addresses,
    audit,
    auth,
    clients,
    conversations,
    home,
    messages,
    mfa,
    password_changes,
    payments,
    predictions,
    sessions,
)
from wellio.handlers.routes import Route

ROUTES: tuple[Route, ...] = (
    *auth.ROUTES,
    *mfa.ROUTES,
    *password_changes.ROUTES,
    *addresses.ROUTES,
    *clients.ROUTES,
    *sessions.ROUTES,
    *payments.ROUTES,
    *predictions.ROUTES,
    *home.ROUTES,
    *conversations.ROUTES,
    *messages.ROUTES,
    *audit.ROUTES,
)
