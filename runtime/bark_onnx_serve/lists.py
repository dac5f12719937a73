"""What there is: models and voices, for OpenAI's clients and for Open WebUI."""

from typing import Any

from fastapi import APIRouter

from bark_onnx.audio.formats import FORMATS
from bark_onnx.audio.pyav import has_pyav
from bark_onnx.audio.tempo import FASTEST, SLOWEST
from bark_onnx.model.manifest import MANIFEST
from bark_onnx.model.vocabulary import Vocabulary
from bark_onnx.normalizing.language import LANGUAGES
from bark_onnx.normalizing.libraries import missing

from .service import Service
from .speech.request import OPENAI_MODELS, RESPONSE_FORMATS, unknown_model
from .web.errors import ErrorBody

# What Suno's Bark makes of a text beside its words: sounds, songs, hesitations and stress (suno-ai/bark, README.md).
BARKS_MARKS = (
    "[laughs]", "[laughter]", "[sighs]", "[music]", "[gasps]", "[clears throat]", "♪", "—", "CAPITALS",
)  # fmt: skip
BARKS_SEMANTIC_TOKENS = Vocabulary().semantic_size


def known_marks(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The marks that a model knows: Bark's, if it has Bark's semantic tokens.

    The semantic tokens decide which sounds a model can make. A model with others, such as nano, was not trained from
    Bark, and nothing says what it makes of a mark.
    """
    return BARKS_MARKS if vocabulary.semantic_size == BARKS_SEMANTIC_TOKENS else ()


def list_routes(service: Service) -> APIRouter:
    """The routes that list models and voices."""
    router = APIRouter()
    bundle = service.bark.bundle
    created = int((bundle.directory / MANIFEST).stat().st_mtime)
    loaded = bundle.manifest.model
    # What this installation can do, for the page; OpenAI's clients pass over it.
    formats = [name for name in RESPONSE_FORMATS if FORMATS[name].is_installed]
    speeds = [SLOWEST, FASTEST] if has_pyav() else [1.0, 1.0]
    languages = () if missing() else LANGUAGES
    marks = known_marks(bundle.manifest.vocabulary)
    models = {
        name: {"id": name, "object": "model", "created": created, "owned_by": "bark-onnx"}
        | {"response_formats": formats, "speeds": speeds, "marks": marks, "normalize_languages": languages}
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
