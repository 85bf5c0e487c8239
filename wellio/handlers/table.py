"""All routes of the REST API, noun by noun."""

from wellio.handlers import auth, clients, conversations, home, messages, payments, predictions, sessions
from wellio.handlers.routes import Route

ROUTES: tuple[Route, ...] = (
    *auth.ROUTES,
    *clients.ROUTES,
    *sessions.ROUTES,
    *payments.ROUTES,
    *predictions.ROUTES,
    *home.ROUTES,
    *conversations.ROUTES,
    *messages.ROUTES,
)
