"""What a caller is told when a request cannot be served: problem details, as RFC 9457 has them."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
# Characters of a wrong value that are told back.
LONGEST_VALUE = 100
# A long list may be wrong in each place.
MOST_ERRORS = 100

log = structlog.stdlib.get_logger()


class WrongField(BaseModel):
    field: str
    value: str
    message: str


class Problem(BaseModel):
    """Why a request was not served."""

    title: str
    status: int
    detail: str
    # Every one at once, when it is the request that is wrong.
    errors: list[WrongField] | None = None


def expected(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """For the description of a route: what it may answer instead."""
    return {int(status): {"description": status.phrase} for status in statuses}


def response(
    status: int,
    detail: str,
    errors: list[WrongField] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = HTTPStatus(status).phrase
    problem = Problem(title=title, status=status, detail=detail, errors=errors)
    # Half of a pair of surrogates, which a caller may send, can be escaped and not encoded.
    body = json.dumps(problem.model_dump(exclude_none=True), ensure_ascii=True)
    return Response(body, status, headers, MEDIA_TYPE)


def connect(app: FastAPI) -> None:
    """Have every error of this application answered, and described, as a problem."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _wrong)
    app.add_middleware(Failures)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]


class Failures:
    """Answers what failed, and keeps the connection, which the server would close."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            if has_begun or scope["type"] != "http":
                raise
            log.exception("a request failed", path=scope["path"])
            detail = "The reason is in the service's log."
            await response(HTTPStatus.INTERNAL_SERVER_ERROR, detail)(scope, receive, send)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return response(error.status_code, error.detail, headers=error.headers)


def _wrong(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field(**problem) for problem in error.errors()[:MOST_ERRORS]]
    detail = "; ".join(f"{wrong.field}: {wrong.message}" for wrong in errors)
    return response(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors)


def _field(*, loc: tuple[Any, ...], msg: str, input: Any, **_: Any) -> WrongField:
    where = [str(part) for part in loc]
    # The first says where in the request: body, query, header or path.
    field = ".".join(where[1:] or where)
    return WrongField(field=field, value=ascii(input)[:LONGEST_VALUE], message=msg)


def _described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schemas = found["components"]["schemas"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        reference = "#/components/schemas/{model}"
        problem = Problem.model_json_schema(ref_template=reference)
        schemas |= {**problem.pop("$defs"), "Problem": problem}
        content = {MEDIA_TYPE: {"schema": {"$ref": reference.format(model="Problem")}}}
        for operations in found["paths"].values():
            for operation in operations.values():
                for status, described in operation["responses"].items():
                    if status >= "400":
                        described["content"] = content
        app.openapi_schema = found
    return app.openapi_schema
