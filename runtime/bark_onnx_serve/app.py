"""The ASGI application: every route, and the layers around them."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import bark_onnx

from .docs import docs_routes
from .lists import list_routes
from .metrics import Metrics
from .page.routes import page_routes
from .service import Service
from .speech.route import speech_routes
from .status import status_routes
from .uploads import VOICES, upload_routes
from .voice_directory import MOST_UPLOAD_BYTES
from .web.errors import add_error_handlers
from .web.keys import RequireKey
from .web.limits import LimitBody
from .web.paths import BelowRoot
from .web.requests import REQUEST_ID, KeepRecords

_EXPOSED = (REQUEST_ID, "retry-after", "x-bark-onnx-seed", "x-bark-onnx-ignored")


def make_app(service: Service, metrics: Metrics) -> FastAPI:
    """The application for a service. All layers are plain ASGI: Starlette's BaseHTTPMiddleware hides disconnects."""
    settings = service.settings
    app = FastAPI(
        title="bark-onnx",
        version=bark_onnx.__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"logs": False},  # a record of a validation failure would have the text
    )
    add_error_handlers(app)
    for routes in (
        speech_routes(service, metrics), list_routes(service), upload_routes(service), status_routes(service, metrics),
    ):  # fmt: skip
        app.include_router(routes)
    app.include_router(docs_routes(app))
    app.include_router(page_routes())
    # The last one is the outermost.
    app.add_middleware(LimitBody, most=settings.max_body_bytes, of_path={VOICES: MOST_UPLOAD_BYTES})
    app.add_middleware(RequireKey, keys=settings.api_keys)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", REQUEST_ID],
            expose_headers=_EXPOSED,
        )
    app.add_middleware(KeepRecords, metrics=metrics)
    app.add_middleware(BelowRoot, root_path=settings.root_path)
    return app
