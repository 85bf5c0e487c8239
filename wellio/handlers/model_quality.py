"""/api/v1/analytics/model-quality"""

from wellio.handlers.routes import Call, NoInput, Route
from wellio.learning.quality import OWNERS, ModelQuality, QualityQuery, get_model_quality


async def get_quality_of_model(call: Call[NoInput, QualityQuery]) -> ModelQuality:
    """How good the predictions of the last `weeks` were, in all and week by week, beside a simple rule's."""
    return await get_model_quality(call.services.db, call.actor, call.query)


ROUTES = (
    Route(
        method="GET", path="/api/v1/analytics/model-quality", handler=get_quality_of_model, tag="analytics",
        roles=OWNERS, query=QualityQuery, answer=ModelQuality,
    ),
)  # fmt: skip
