"""Servers that several tests use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving import Running, running


@pytest.fixture(autouse=True)
def drawn_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests without a seed get one with which the model says something."""
    monkeypatch.setattr("bark_onnx.long.planner.draw_seed", lambda: 2)
    monkeypatch.setattr("bark_onnx.engine.engine.draw_seed", lambda: 2)


@pytest.fixture(scope="module")
def server(bundle_with_voice: Path) -> Iterator[Running]:
    """Without a key, and with the default limits."""
    with running(bundle_with_voice, voice_aliases={"narrator": "v2/en_speaker_6"}) as server:
        yield server


@pytest.fixture
def fresh(bundle: Path) -> Iterator[Running]:
    """A server of two slots that counts from zero."""
    with running(bundle, slots=2, max_queue=8) as server:
        yield server
