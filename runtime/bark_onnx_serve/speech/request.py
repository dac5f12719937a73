"""The body of a request for speech: OpenAI's fields, and ours beside them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bark_onnx import GenerationOptions
from bark_onnx.numbers import SEEDS

from ..service import Words
from ..web.errors import ApiError

# OpenAI's names of models stand for the model that is loaded.
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")

Temperature = Annotated[float, Field(ge=0, le=100)]


class VoiceId(BaseModel):
    """OpenAI's other way to name a voice."""

    model_config = ConfigDict(extra="forbid")

    id: str


class SpeechRequest(BaseModel):
    """What to say, and how. A field that is null counts as left out; an unknown one is an error, as OpenAI has it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str = Field(description="The name of the model that is loaded, or one of OpenAI's.")
    input: str = Field(description="The text.")
    voice: str | VoiceId = Field(description="The name of a voice: /v1/audio/voices lists them.")
    instructions: str | None = Field(None, max_length=4096, description="Ignored: the model takes none.")
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4, description="Only 1 for now.")
    stream_format: Literal["audio", "sse"] = "audio"
    stream: bool = Field(True, description="false: send a complete file, with its length, at the end.")
    seed: int | None = Field(None, ge=0, lt=SEEDS, description="The same seed gives the same speech.")
    text_temperature: Temperature = 0.7
    coarse_temperature: Temperature = 0.7
    fine_temperature: Temperature = 0.5
    top_k: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    min_eos_p: float = Field(0.2, ge=0, le=1, description="0: end only when the end token is sampled.")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    def check(self, model: str, max_characters: int) -> None:
        """Raise ApiError for what this server cannot do.

        Args:
            model: the name of the loaded model.
        """
        if self.model not in (model, *OPENAI_MODELS):
            raise unknown_model(self.model, model)
        if len(self.input) > max_characters:
            message = f"Invalid 'input': {len(self.input)} characters, of at most {max_characters}."
            raise ApiError(400, message, "string_above_max_length", "input")
        if self.response_format == "aac":
            message = "this server cannot make aac: take mp3, opus, flac, wav or pcm"
            raise ApiError(400, message, "unsupported_value", "response_format")
        if self.speed != 1:
            raise ApiError(400, "this server cannot change the speed: leave it at 1", "unsupported_value", "speed")
        if self.stream_format == "sse" and not self.stream:
            raise ApiError(400, "stream_format sse is a stream: leave stream out", "unsupported_value", "stream")

    def words(self) -> Words:
        """What the service needs to know."""
        options = GenerationOptions(
            text_temperature=self.text_temperature,
            coarse_temperature=self.coarse_temperature,
            fine_temperature=self.fine_temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_eos_p=self.min_eos_p or None,
        )
        return Words(self.input, self.voice_name, options, self.seed, whole=not self.stream)

    @property
    def voice_name(self) -> str:
        """The voice, however it is given."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


def unknown_model(given: str, model: str) -> ApiError:
    """The error for the name of a model that is not loaded."""
    message = f"The model '{given[:100]}' does not exist here; this server has '{model}'."
    return ApiError(404, message, "model_not_found", "model")
