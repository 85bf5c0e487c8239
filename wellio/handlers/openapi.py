"""The OpenAPI 3.1 document, made from the route tables and the types they name."""

from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from wellio import __version__
from wellio.handlers.routes import File, NoInput, Route, StoredFile, Stream
from wellio.pages import Page

REF = "#/components/schemas/{model}"
REASONS = {
    400: "Malformed: not JSON, not a UUID, or the like.",
    401: "No valid access token.",
    403: "The caller's role does not allow this.",
    404: "No such resource, or none that the caller may see.",
    409: "In conflict with what is stored.",
    412: "If-Match names another version than the stored one.",
    413: "The body is larger than 1 MiB, or than such a file may be.",
    415: "The body is not application/json, or the file of a type that is not taken.",
    422: "A field is not valid; `details.fields` says which and why.",
    429: "Too many requests; see Retry-After.",
    503: "Something is away for the moment; see Retry-After.",
}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "examples": ["VALIDATION_FAILED"]},
                "message": {"type": "string"},
                "details": {"type": "object", "additionalProperties": True},
            },
        }
    },
}
PAGINATION_SCHEMA = {
    "type": "object",
    "required": ["page", "page_size", "total", "total_pages", "has_next"],
    "properties": {
        **{name: {"type": "integer"} for name in ("page", "page_size", "total", "total_pages")},
        "has_next": {"type": "boolean"},
    },
}


def openapi_document(routes: tuple[Route, ...]) -> dict[str, Any]:
    schemas = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    components = {name: schema for name, schema in schemas.items() if name != "NoInput"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Wellio",
            "version": __version__,
            "description": "The backend of a coaching practice.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": tag} for tag in sorted({r.tag for r in routes})],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {**components, "Error": ERROR_SCHEMA, "Pagination": PAGINATION_SCHEMA},
        },
    }


def _schemas(routes: tuple[Route, ...]) -> dict[str, Any]:
    bodies = {r.body for r in routes} | {r.query for r in routes}
    _, inputs = models_json_schema([(m, "validation") for m in sorted(bodies, key=_name)], ref_template=REF)
    answers = sorted({kind for r in routes for kind in _answer_types(r.answer)}, key=_name)
    adapters = [(t.__name__, "serialization", TypeAdapter(t)) for t in answers]
    _, outputs = TypeAdapter.json_schemas(adapters, ref_template=REF)  # type: ignore[arg-type]
    return {**inputs.get("$defs", {}), **outputs.get("$defs", {})}


def _name(kind: type) -> str:
    return kind.__name__


def _answer_types(answer: Any) -> tuple[Any, ...]:
    """One; several for a union; none for an answer without data."""
    if answer in (None, File, StoredFile, Stream):
        return ()
    return get_args(answer) if get_origin(answer) in (Page, UnionType) else (answer,)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, rest = (route.handler.__doc__ or "").strip().partition("\n")
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": summary.rstrip("."),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route),
    }
    if rest.strip():
        operation["description"] = " ".join(rest.split())
    if route.roles is None:
        operation["security"] = []
    else:
        operation["x-roles"] = sorted(route.roles)
        operation["x-api-key-scope"] = route.scope if route.api_keys else None
    if route.body is not NoInput:
        reference = {"$ref": REF.format(model=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if route.multipart:
        file = {"type": "string", "contentMediaType": "application/octet-stream"}
        form = {"type": "object", "required": ["file"], "properties": {"file": file}}
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    return operation


def _parameters(route: Route, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    uuid = {"type": "string", "format": "uuid"}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": uuid} for name in route.id_names
    ]
    word = {"type": "string", "minLength": 1}
    parameters += [{"name": name, "in": "path", "required": True, "schema": word} for name in route.word_names]
    parameters += _query_parameters(route.query, schemas)
    if route.creates:
        key = {"type": "string", "minLength": 1, "maxLength": 200}
        parameters.append({"name": "Idempotency-Key", "in": "header", "required": False, "schema": key})
    if 412 in route.errors:
        parameters.append({"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}})
    return parameters


def _query_parameters(model: type[BaseModel], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = schemas.get(model.__name__, {})
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(field)}
        for name, field in schema.get("properties", {}).items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: an optional parameter is left out."""
    options = [s for s in schema.get("anyOf", ()) if s != {"type": "null"}]
    if len(options) != 1:
        return schema
    return {**{k: v for k, v in schema.items() if k not in ("anyOf", "default")}, **options[0]}


def _responses(route: Route) -> dict[str, Any]:
    statuses = {400, 413, 422, 429, 503} | set(route.errors)
    statuses |= {401, 403} if route.roles is not None else set()
    statuses |= {404} if route.id_names else set()
    statuses |= {409} if route.creates else set()
    statuses |= {415}
    responses = {str(status): _error(REASONS[status]) for status in sorted(statuses)}
    content = _file(route) if route.answer in (File, StoredFile, Stream) else _json(_success_schema(route.answer))
    success: dict[str, Any] = {"description": "Done.", "content": content}
    if route.creates:
        success["headers"] = {"Idempotent-Replayed": {"schema": {"type": "string"}, "description": "A repeat."}}
    return {str(route.status): success, **responses}


def _file(route: Route) -> dict[str, Any]:
    return {media.strip(): {"schema": {"type": "string"}} for media in route.media.split(",")}


def _success_schema(answer: Any) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    options = [{"$ref": REF.format(model=kind.__name__)} for kind in _answer_types(answer)]
    data: dict[str, Any] = {"anyOf": options} if len(options) > 1 else next(iter(options), {"type": "null"})
    if get_origin(answer) is Page:
        data = {"type": "array", "items": data}
        extra = {"pagination": {"$ref": REF.format(model="Pagination")}}
    properties = {"success": {"const": True}, "data": data, **extra}
    return {"type": "object", "required": ["success", "data", *extra], "properties": properties}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": _json({"$ref": REF.format(model="Error")})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
