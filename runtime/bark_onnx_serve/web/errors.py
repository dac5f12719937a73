"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}, whatever went wrong."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from bark_onnx.errors import one_line

from ..failures import Diagnosis

INVALID = "invalid_request_error"
SERVER_ERROR = "server_error"


class ErrorFields(BaseModel):
    """What OpenAI's clients read."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorFields


class ApiError(Exception):
    """An error that a client gets.

    Args:
        status: of HTTP.
        message: says what is wrong and what to do. It becomes one line, and a long one is cut.
        code: for programs.
        param: the field of the request that is wrong.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        message = one_line(message)
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})
        kind = "rate_limit_error" if status == 429 else INVALID if status < 500 else SERVER_ERROR
        self.body = ErrorBody(error=ErrorFields(message=message, type=kind, param=param, code=code))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with this error: it is an ASGI application."""
        await self.response()(scope, receive, send)

    def response(self) -> Response:
        """The answer."""
        return JSONResponse(self.body.model_dump(), self.status, self.headers)


def from_diagnosis(diagnosis: Diagnosis) -> ApiError:
    """The answer to a request for speech that has failed."""
    status = {"refused": 400, "rejected": 429, "late": 503}.get(diagnosis.outcome, 500)
    if diagnosis.code == "engine_stopped":
        status = 503
    headers = {} if diagnosis.retry_after is None else {"Retry-After": str(diagnosis.retry_after)}
    if diagnosis.field is None:
        return ApiError(status, diagnosis.text, diagnosis.code, headers=headers)
    code = "invalid_value" if diagnosis.field == "input" else diagnosis.code  # as for other fields that are wrong
    return ApiError(status, f"Invalid '{diagnosis.field}': {diagnosis.text}", code, diagnosis.field, headers)


def internal_error() -> ApiError:
    """The error for a fault of ours."""
    return ApiError(500, "the server had an error: its log says more", "internal_error")


def add_error_handlers(app: FastAPI) -> None:
    """Answer in OpenAI's form where FastAPI and Starlette would use their own."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        return error.response()

    async def plain(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _from_status(error, request).response()

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return from_validation(error).response()

    app.add_exception_handler(ApiError, ours)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(RequestValidationError, invalid)


def _from_status(error: HTTPException, request: Request) -> ApiError:
    status = error.status_code
    code = {404: "unknown_url", 405: "method_not_allowed", 413: "request_too_large"}.get(status)
    message = str(error.detail)
    if status == HTTPStatus.NOT_FOUND:
        message = f"Invalid URL ({request.method} {request.url.path})"
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"Not allowed method for this URL ({request.method} {request.url.path})"
    return ApiError(status, message, code, headers=error.headers)


def from_validation(error: RequestValidationError) -> ApiError:
    """The first thing that is wrong with a request. Values that were sent are not repeated."""
    problem = error.errors()[0]
    kind = problem["type"]
    place = problem["loc"][1:]
    param = one_line(str(place[0]))[:100] if place else None
    if kind == "json_invalid":
        return ApiError(400, f"the body is not JSON: {problem['ctx']['error']}", "invalid_json")
    if param is None:
        return ApiError(400, "send a JSON object, with the header Content-Type: application/json", "invalid_json")
    if kind == "missing":
        return ApiError(400, f"Missing required parameter: '{param}'.", "missing_required_parameter", param)
    if kind == "extra_forbidden":
        return ApiError(400, f"Unknown parameter: '{param}'.", "unknown_parameter", param)
    return ApiError(400, f"Invalid '{param}': {problem['msg']}.", "invalid_value", param)
