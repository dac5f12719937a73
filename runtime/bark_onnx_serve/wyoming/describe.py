"""What the server tells about itself: Home Assistant shows its voices by language."""

from wyoming.event import Event
from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

import bark_onnx

from ..service import Service

_ATTRIBUTION = Attribution(name="bark-onnx, which runs Suno's Bark", url="https://github.com/suno-ai/bark")


def info_event(service: Service) -> Event:
    """The answer to `describe`. A voice whose name does not begin with a language is listed as an English one."""
    voices, manifest = service.voices, service.bark.bundle.manifest
    listed = [
        TtsVoice(
            name=voice.id,
            attribution=_ATTRIBUTION,
            installed=True,
            description=voice.name,
            version=bark_onnx.__version__,
            languages=[voices.language(voice.id) or "en"],
        )
        for voice in voices.names
    ]
    program = TtsProgram(
        name="bark-onnx",
        attribution=_ATTRIBUTION,
        installed=True,
        description=f"{manifest.model} in {manifest.precision}",
        version=bark_onnx.__version__,
        voices=listed,
        supports_synthesize_streaming=True,
    )
    return Info(tts=[program]).event()
