"""What an operator chooses: the arguments of `serve run bark_onnx_serve.ray:app`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from bark_onnx.errors import BarkError

from ..settings import Settings


def _words(value: Any) -> Any:
    """Split a text at its spaces: `serve run` gives every argument as a text."""
    return tuple(value.split()) if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    """Read "a=b c=d" as a mapping, as a text of `serve run` has it."""
    return dict(pair.partition("=")[::2] for pair in value.split()) if isinstance(value, str) else value


class Arguments(BaseModel):
    """What to serve, on how many replicas, and with which limits. Each replica is a process with one model.

    Args:
        bundle: the directory of the model, which every node must have, or its name on the Hugging Face hub; None: nano,
            a small demonstration model.
        device: where to compute. A replica on `cuda` or `tensorrt` takes one GPU.
        threads: CPU threads of a replica; it also takes so many CPUs of a node.
        replicas: how many there are; with `max_replicas`, the least.
        max_replicas: autoscaling makes up to so many; None: no autoscaling.
        target_ongoing_requests: autoscaling adds replicas if a replica has more requests than this on average; None: as
            many as it has slots.
        api_key_variable: the environment variable of the replicas in which the API keys are, with spaces between them.
            A replica without it does not start. The keys themselves are no argument, since Ray shows arguments to
            everybody who sees its dashboard. None: everybody may use the server.

    The other arguments are those of `Settings`, for each replica. Voices cannot be uploaded: a replica does not read
    what another one was sent. In place of `drain_seconds`, a replica that Ray stops gets as long as a request may take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str | None = None
    device: str = "cpu"
    threads: int = Field(1, ge=1, le=1024)
    replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1)
    target_ongoing_requests: float | None = Field(None, gt=0)
    slots: int = Field(8, ge=1, le=1024)
    max_queue: int = Field(64, ge=1)
    max_seconds_queued: float | None = Field(None, gt=0)
    max_characters: int = Field(4096, ge=1, le=100_000)
    request_seconds: float = Field(600.0, gt=0)
    api_key_variable: str | None = None
    cors: Annotated[tuple[str, ...], BeforeValidator(_words)] = ()
    voice_aliases: Annotated[Mapping[str, str], BeforeValidator(_pairs)] = Field(default_factory=dict)
    voices: Path | None = None

    @property
    def uses_gpu(self) -> bool:
        """Whether a replica needs a GPU."""
        return self.device.partition(":")[0] in ("cuda", "tensorrt")

    def settings(self) -> Settings:
        """The settings of a replica, with the keys in its environment.

        Raises BarkError if the environment has no keys although it should, or if a value is impossible.
        """
        keys: tuple[str, ...] = ()
        if self.api_key_variable is not None:
            keys = tuple(os.environ.get(self.api_key_variable, "").split())
            if not keys:
                raise BarkError(f"the environment variable {self.api_key_variable} of the replica has no API key")
        return Settings(api_keys=keys, **self._limits())

    def check(self) -> None:
        """Raise BarkError if a value is impossible, without the keys, which only replicas have."""
        Settings(**self._limits())
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise BarkError(
                f"max_replicas must be at least replicas, which is {self.replicas}, not {self.max_replicas}"
            )

    def _limits(self) -> dict[str, Any]:
        names = (
            "slots", "max_queue", "max_seconds_queued", "max_characters", "request_seconds", "cors", "voice_aliases",
            "voices",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}
