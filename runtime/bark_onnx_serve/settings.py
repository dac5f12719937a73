"""What an operator chooses: the options of `bark-onnx serve` that the server itself reads."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from bark_onnx.errors import BarkError, shown


@dataclass(frozen=True)
class Settings:
    """How to serve. The defaults are those of the command.

    Args:
        host, port: where to listen; host :: is all addresses, of IPv4 too; port 0 takes a free one.
        slots: utterances at a time.
        max_queue: utterances that may wait for a slot.
        max_seconds_queued: seconds of speech, by estimate, that the requests which have been accepted may still have to
            make; None: no limit.
        max_characters: of one text.
        request_seconds: how long a request may take until its last byte is sent.
        drain_seconds: how long requests may go on after SIGTERM.
        api_keys: who has one of them may use the server; without any, everybody may.
        cors: origins of web pages that may use the server.
        voice_aliases: further names of voices, and the voice that each means.
        voices: a directory with voices beside the bundle's; None: there are only the bundle's.
        allow_voice_upload: requests may add voices to that directory and delete them.
        root_path: the path below which a reverse proxy shows the server, such as /speech.
        wyoming: the port for the Wyoming protocol, on the same host; 0 takes a free one; None: do not speak it.

    Raises BarkError that names the option whose value is impossible.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    slots: int = 8
    max_queue: int = 64
    max_seconds_queued: float | None = None
    max_characters: int = 4096
    request_seconds: float = 600.0
    drain_seconds: int = 30
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    cors: tuple[str, ...] = ()
    voice_aliases: Mapping[str, str] = field(default_factory=dict)
    voices: Path | None = None
    allow_voice_upload: bool = False
    root_path: str = ""
    wyoming: int | None = None

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise BarkError("--host is empty: give an address, such as 127.0.0.1, or :: for all addresses")
        for option, seconds in (
            ("--request-seconds", self.request_seconds),
            ("--max-seconds-queued", self.max_seconds_queued),
        ):
            if seconds is not None and not math.isfinite(seconds):
                raise BarkError(f"{option} must be a number, not {seconds}")
        for origin in self.cors:
            if not _is_origin(origin):
                raise BarkError(f"--cors must be * or an origin such as https://example.org, not {shown(origin)}")
        if not re.fullmatch(r"(/[\w.~-]+)*", self.root_path, re.ASCII):
            raise BarkError(f"--root-path must begin with / and not end with it, not {shown(self.root_path)}")
        # The error must not show the keys.
        if not all(key.isascii() and key.isprintable() and key and " " not in key for key in self.api_keys):
            raise BarkError("--api-key must be printable ASCII without spaces, and not empty")
        if self.allow_voice_upload and self.voices is None:
            raise BarkError("--allow-voice-upload needs --voices DIR: a directory that keeps the voices")

    @property
    def max_body_bytes(self) -> int:
        """The longest request: JSON may write a character in 12 bytes, and `instructions` have up to 4096."""
        return 12 * (self.max_characters + 4096) + 8192

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can reach the server."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:  # a name, which may mean any address
            return False


def _is_origin(origin: str) -> bool:
    return origin == "*" or re.fullmatch(r"https?://[^\s/?#]+", origin) is not None
