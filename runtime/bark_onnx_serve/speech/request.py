"""The body of a request for speech: OpenAI's fields, and ours beside them."""

from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bark_onnx import BarkError, GenerationOptions
from bark_onnx.audio.formats import FORMATS
from bark_onnx.audio.tempo import FASTEST, SLOWEST, check_speed
from bark_onnx.normalizing.choice import chosen_normalizer
from bark_onnx.numbers import SEEDS

from ..service import Words
from ..web.errors import ApiError
from .subtitles import SubtitleFormat

# OpenAI's names of models stand for the model that is loaded.
OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")

ResponseFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
RESPONSE_FORMATS: tuple[ResponseFormat, ...] = get_args(ResponseFormat)

Normalize = Literal["auto", "off", "en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh"]
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
    response_format: ResponseFormat = Field(
        "mp3", description="pcm is 24 kHz, 16 bits, mono, little-endian. aac needs the extra av on the server."
    )
    speed: float = Field(
        1.0, ge=SLOWEST, le=FASTEST, description="2 is twice as fast. Needs the extra av on the server."
    )
    stream_format: Literal["audio", "sse"] = Field(
        "audio", description="audio: the bytes of the audio. sse: events, with the audio in base64."
    )
    stream: bool = Field(True, description="false: send a complete file, with its length, at the end.")
    subtitles: SubtitleFormat | None = Field(
        None,
        description="With stream_format sse: events that say when each phrase is said, and a document in this format.",
    )
    normalize: Normalize = Field(
        "auto",
        description="Read numbers, dates, symbols and the like as words of this language. auto: that of the voice's "
        "name, if the server has the extra text. off: as they are written.",
    )
    seed: int | None = Field(None, ge=0, lt=SEEDS, strict=True, description="The same seed gives the same speech.")
    text_temperature: Temperature = Field(0.7, description="Of the words' tokens: higher is more varied.")
    coarse_temperature: Temperature = Field(0.7, description="Of the voice's tokens: higher is more varied.")
    fine_temperature: Temperature = Field(0.5, description="Of the sound's finer tokens: higher is more varied.")
    top_k: int | None = Field(None, ge=1, strict=True, description="Sample among this many most probable tokens.")
    top_p: float | None = Field(None, gt=0, le=1, description="Sample among the tokens that make up this probability.")
    min_eos_p: float = Field(
        0.2,
        ge=0,
        le=1,
        description="End an utterance when the end token has this probability. 0: only when it is sampled.",
    )

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
        for param, check in (
            ("response_format", FORMATS[self.response_format].check_installed),
            ("speed", partial(check_speed, self.speed)),
            ("normalize", partial(chosen_normalizer, self.normalize, None)),
        ):
            try:
                check()
            except BarkError as error:
                raise ApiError(400, f"this server cannot do that: {error}", "unsupported_value", param) from None
        if self.stream_format == "sse" and not self.stream:
            raise ApiError(400, "stream_format sse is a stream: leave stream out", "unsupported_value", "stream")
        if self.subtitles and self.stream_format != "sse":
            message = 'subtitles come in events beside the audio: add "stream_format": "sse"'
            raise ApiError(400, message, "unsupported_value", "subtitles")

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
        return Words(self.input, self.voice_name, options, self.seed, not self.stream, self.normalize, self.speed)

    @property
    def voice_name(self) -> str:
        """The voice, however it is given."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


def unknown_model(given: str, model: str) -> ApiError:
    """The error for the name of a model that is not loaded."""
    message = f"The model '{given[:100]}' does not exist here; this server has '{model}'."
    return ApiError(404, message, "model_not_found", "model")
