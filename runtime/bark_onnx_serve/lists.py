"""What there is: models and voices, for OpenAI's clients and for Open WebUI."""

from typing import Any

from fastapi import APIRouter

from bark_onnx.audio.formats import FORMATS
from bark_onnx.audio.pyav import has_pyav
from bark_onnx.audio.tempo import FASTEST, SLOWEST
from bark_onnx.model.manifest import MANIFEST

from .service import Service
from .speech.request import OPENAI_MODELS, RESPONSE_FORMATS, unknown_model
from .web.errors import ErrorBody


def list_routes(service: Service) -> APIRouter:
    """The routes that list models and voices."""
    router = APIRouter()
    bundle = service.bark.bundle
    created = int((bundle.directory / MANIFEST).stat().st_mtime)
    loaded = bundle.manifest.model
    # What this installation can do, for the page; OpenAI's clients pass over it.
    formats = [name for name in RESPONSE_FORMATS if FORMATS[name].is_installed]
    speeds = [SLOWEST, FASTEST] if has_pyav() else [1.0, 1.0]
    models = {
        name: {"id": name, "object": "model", "created": created, "owned_by": "bark-onnx"}
        | {"response_formats": formats, "speeds": speeds}
        for name in (loaded, *OPENAI_MODELS)
    }

    @router.get("/v1/models", summary="List the models: the loaded one, and OpenAI's names that mean it")
    async def list_models() -> dict[str, Any]:
        return {"object": "list", "data": [*models.values()]}

    @router.get("/v1/models/{model:path}", summary="Describe a model", responses={"4XX": {"model": ErrorBody}})
    async def model(model: str) -> dict[str, Any]:
        if model not in models:
            raise unknown_model(model, loaded)
        return models[model]

    @router.get("/v1/audio/models", summary="List the models, for Open WebUI")
    async def list_audio_models() -> dict[str, Any]:
        return {"models": [{"id": name} for name in models]}

    @router.get("/v1/audio/voices", summary="List the voices")
    async def list_voices() -> dict[str, Any]:
        return {"voices": [voice._asdict() for voice in service.voices.names]}

    return router
