"""Which server is measured."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bark_onnx.errors import BarkError, shown


@dataclass(frozen=True)
class Target:
    """A server, and what every request asks it for.

    Args:
        url: its address, with or without /v1.
        model, voice: the fields of the requests.
        api_key: sent as a bearer token; None sends none.

    Raises BarkError if the address or the key is impossible.
    """

    url: str
    model: str
    voice: str
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            possible = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            possible = False
        if not possible or not self.url.isprintable() or " " in self.url:
            raise BarkError(f"{shown(self.url)} is not the address of a server, such as http://127.0.0.1:8000")
        # The address is written into the figures, which must have no secrets.
        if parts.username is not None or parts.query or parts.fragment:
            raise BarkError("the address of the server must have no user, no password, no ? and no #: see --api-key")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise BarkError("an API key must be printable ASCII")

    @property
    def speech_url(self) -> str:
        """The address of the route."""
        base = self.url.rstrip("/")
        return f"{base}/audio/speech" if base.endswith("/v1") else f"{base}/v1/audio/speech"
