"""/api/v1/predictions"""

from wellio.accounts.actors import STAFF
from wellio.handlers.routes import Call, NoInput, Route
from wellio.learning.predictions import (
    ClientPrediction,
    Prediction,
    PredictionQuery,
    get_prediction_over_time,
    list_predictions,
)
from wellio.pages import Page


async def list_churn_page(call: Call[NoInput, PredictionQuery]) -> Page[Prediction]:
    """Who may be about to leave: the highest risk first, each with the reasons behind it."""
    return await list_predictions(call.services.db, call.actor, call.query)


async def get_churn_of_client(call: Call[NoInput, NoInput]) -> ClientPrediction:
    """One client's risk, and how it went over time. Without enough history the status says so."""
    return await get_prediction_over_time(call.services.db, call.actor, call.ids["client_id"])


BASE = "/api/v1/predictions/churn"
ROUTES = (
    Route(
        method="GET", path=BASE, handler=list_churn_page, tag="predictions", roles=STAFF,
        query=PredictionQuery, answer=Page[Prediction], reads=True,
    ),
    Route(
        method="GET", path=f"{BASE}/{{client_id}}", handler=get_churn_of_client, tag="predictions", roles=STAFF,
        answer=ClientPrediction, reads=True,
    ),
)  # fmt: skip
