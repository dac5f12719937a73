"""The front door: what a caller of `Bark` sees beside the speech. All on nano."""

import base64
import logging
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bark_onnx
from bark_onnx import Bark, BarkError, BarkWarning, GenerationOptions, Progress, Request, StreamOptions, VoicePreset

SHORT = GenerationOptions(max_seconds=0.4)
TEXT = "Hello."


@pytest.fixture(scope="module")
def nano() -> Iterator[Bark]:
    with Bark.load(device="cpu", threads=1) as bark:
        yield bark


@pytest.mark.parametrize("call", ["generate", "stream", "semantic", "generate_long"])
def test_everything_after_the_text_is_given_by_name(nano: Bark, call: str) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        getattr(nano, call)(TEXT, "en_male")
    make: Any = Request
    with pytest.raises(TypeError, match="positional argument"):
        make(TEXT, "en_male")


def test_numbers_of_numpy_are_numbers(nano: Bark, tmp_path: Path) -> None:
    options = GenerationOptions(max_seconds=np.float32(0.5), top_k=np.int64(20))  # type: ignore[arg-type]
    expected = nano.generate(TEXT, options=GenerationOptions(max_seconds=0.5, top_k=20), seed=3)
    for seed in (np.int64(3), np.uint8(3), 3.0):
        speech = nano.generate(TEXT, options=options, seed=seed)  # type: ignore[arg-type]
        np.testing.assert_array_equal(speech.tokens.semantic, expected.tokens.semantic)
        assert type(speech.seed) is int
    assert list(nano.generate_long(TEXT, options=options, seed=np.int64(3), journal=tmp_path / "journal"))  # type: ignore[arg-type]
    (batch,) = nano.generate_batch([Request(TEXT, options=options, seed=np.int64(3))])  # type: ignore[arg-type]
    np.testing.assert_array_equal(batch.tokens.semantic, expected.tokens.semantic)


@pytest.mark.parametrize("seed", ["3", 1.5, -1, 2**64, [3], float("nan"), True])
def test_a_seed_that_is_none_is_one_line(nano: Bark, seed: Any) -> None:
    calls = [
        lambda: nano.generate(TEXT, seed=seed),
        lambda: nano.stream(TEXT, seed=seed),
        lambda: nano.semantic(TEXT, seed=seed),
        lambda: nano.generate_long(TEXT, seed=seed),
        lambda: nano.engine().submit(Request(TEXT, seed=seed)),
    ]
    for call in calls:
        with pytest.raises(BarkError, match="seed"):
            call()


@pytest.mark.parametrize("wrong", [{"max_seconds": 1}, {}, [], "fast", 0, True, np.zeros(3)], ids=repr)
def test_what_has_the_wrong_type_is_one_line(nano: Bark, wrong: Any) -> None:
    """Also if it is empty, which a check such as `options or ...` lets through."""
    engine = nano.engine(slots=1)
    calls: dict[str, Callable[[], Any]] = {
        "options": lambda: nano.generate(TEXT, options=wrong),
        "options must": lambda: nano.stream(TEXT, options=wrong),
        "options must be": lambda: nano.semantic(TEXT, options=wrong),
        "options must be Gen": lambda: nano.coarse([1, 2, 3, 4], options=wrong),
        "options must be Generation": lambda: nano.fine(np.zeros((2, 9), np.int64), options=wrong),
        "options must be GenerationOptions": lambda: nano.generate_long(TEXT, options=wrong),
        "streaming must be StreamOptions": lambda: nano.stream(TEXT, streaming=wrong),
        "narration must be NarrationOptions": lambda: nano.generate_long(TEXT, narration=wrong),
        "worker must be a Worker": lambda: nano.generate_long(TEXT, worker=wrong),
        "a request must be a Request": lambda: nano.generate_batch([wrong]),
        "request must be a Request": lambda: engine.submit(wrong),
        "streaming must be": lambda: engine.submit(Request(TEXT, streaming=wrong)),
    }
    if not isinstance(wrong, dict):
        calls |= {
            "cast must be a dictionary": lambda: nano.generate_long(TEXT, cast=wrong),
            "provider_options must be a dictionary": lambda: Bark.load(provider_options=wrong),
        }
    if not isinstance(wrong, str):
        calls |= {
            "the text must be a string": lambda: nano.generate_long(wrong),
            "history must be": lambda: nano.generate_long(TEXT, history=wrong),
            "device must be a name": lambda: Bark.load(device=wrong),
        }
    for complaint, call in calls.items():
        with pytest.raises(BarkError, match=complaint):
            call()
    assert engine.idle


@pytest.mark.parametrize("wrong", ["2", 1.5, [2], float("nan"), True, -1, 10**400, np.zeros(3)], ids=lambda _: "")
def test_a_wrong_number_is_one_line(nano: Bark, wrong: Any) -> None:
    calls = {
        "slot": lambda: nano.engine(slots=wrong),
        "slots?": lambda: nano.worker(slots=wrong),
        "threads": lambda: Bark.load(threads=wrong),
    }
    if not isinstance(wrong, int) or wrong is True:
        calls |= {
            "slots must": lambda: nano.generate_batch([Request(TEXT, options=SHORT)], slots=wrong),
            "max_waiting": lambda: nano.worker(slots=1, max_waiting=wrong),
        }
    for complaint, call in calls.items():
        with pytest.raises(BarkError, match=complaint):
            call()
    if not isinstance(wrong, float) or np.isnan(wrong):
        with nano.worker(slots=1) as worker, pytest.raises(BarkError, match="timeout must be"):
            worker.submit(Request(TEXT, options=SHORT), timeout=wrong)


def test_a_stream_of_one_utterance_has_no_cast(nano: Bark) -> None:
    with pytest.raises(BarkError, match="single speaks one utterance, and a cast is for a script"):
        nano.stream("A: Hello.", single=True, cast={"A": "en_male"})


def test_a_voice_may_be_a_dictionary_of_arrays(nano: Bark) -> None:
    """As suno-ai/bark's programs have it."""
    preset = nano.preset("en_male")
    assert preset is not None
    one, other = (nano.generate(TEXT, voice=voice, options=SHORT, seed=1) for voice in ("en_male", preset.to_prompt()))
    np.testing.assert_array_equal(one.tokens.fine, other.tokens.fine)
    assert nano.voices == ("en_female", "en_male")


# The end


def test_close_frees_the_networks_and_says_so_afterwards() -> None:
    with Bark.load(device="cpu", threads=1) as bark:
        list(bark.stream(TEXT, options=SHORT, seed=1))
        stream = bark.stream(TEXT, options=SHORT, seed=1)
    bark.close()
    assert "closed" in repr(bark)
    for call in (
        lambda: bark.generate(TEXT),
        lambda: bark.stream(TEXT),
        lambda: bark.decode(np.zeros((8, 9), np.int64)),
        lambda: bark.generate_batch([Request(TEXT)]),
        lambda: bark.worker(),
        lambda: next(stream),
    ):
        with pytest.raises(BarkError, match="this Bark is closed: load the bundle again"):
            call()


MEMORY = """
import gc, sys
from bark_onnx import Bark, GenerationOptions

def megabytes():
    gc.collect()
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

before = megabytes()
for _ in range(4):
    with Bark.load(device="cpu", threads=1) as bark:
        bark.generate("Hello.", options=GenerationOptions(max_seconds=0.3), seed=1)
        list(bark.stream("Hello.", options=GenerationOptions(max_seconds=0.3), seed=1))
        during = megabytes()
    del bark
    print(f"{before:.0f} {during:.0f} {megabytes():.0f}")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")
def test_memory_does_not_grow_with_barks() -> None:
    result = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=300, check=True)
    rows = [[float(number) for number in line.split()] for line in result.stdout.splitlines()]
    assert rows[-1][2] - rows[0][2] < 15, result.stdout  # three more Barks


def test_pickling_is_refused_in_one_line(nano: Bark) -> None:
    with pytest.raises(TypeError, match="a Bark cannot be pickled: send the bundle's path"):
        pickle.dumps(nano)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("used", [False, True])
def test_after_a_fork(used: bool) -> None:
    """A Bark that was only loaded works in the child; one that was used says what to do."""
    with Bark.load(device="cpu", threads=2) as bark:
        expected = bark.generate(TEXT, options=SHORT, seed=1) if used else None
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                speech = bark.generate(TEXT, options=SHORT, seed=1)
                message = f"{speech.tokens.semantic.tolist()}"
            except BarkError as error:
                message = str(error)
            os.write(write, message.encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as file:
            message = file.read()
        os.waitpid(child, 0)
        here = bark.generate(TEXT, options=SHORT, seed=1)
        if expected is None:
            assert message == str(here.tokens.semantic.tolist())
        else:
            assert "forked" in message
            assert "load" in message


# What is told on the way


def test_progress_is_called_with_the_stage(nano: Bark) -> None:
    seen: list[Progress] = []
    bark = Bark(nano.bundle, nano.device, progress=seen.append)
    bark.generate(TEXT, options=SHORT, seed=1)
    bark.generate_batch([Request(TEXT, options=SHORT), Request(TEXT, options=SHORT)])
    list(bark.generate_long(TEXT, options=SHORT, seed=1))
    assert list(dict.fromkeys(one.stage for one in seen)) == ["semantic", "coarse", "fine", "batch", "speech"]
    semantic = [one for one in seen if one.stage == "semantic"]
    assert [one.done for one in semantic] == [*range(1, len(semantic) + 1)]
    assert semantic[-1].done == semantic[-1].total == 20
    assert [one.done for one in seen if one.stage == "batch"][-1] == 2
    bark.close()


def test_the_log_tells_what_is_loaded_and_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "bark_onnx"):
        Bark.load(device="cpu", threads=1).close()
    for stage in ("semantic", "coarse", "fine", "codec"):
        assert any(re.search(rf"{stage}.*loaded.* s", line) for line in caplog.messages), caplog.messages
    assert any("CPUExecutionProvider" in line for line in caplog.messages)


def test_nothing_is_logged_to_the_terminal_by_default() -> None:
    code = "import bark_onnx, logging; logging.getLogger('bark_onnx').warning('x'); bark_onnx.Bark.load().close()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert (result.stdout, result.stderr) == ("", "")


def test_warnings_point_at_the_callers_line(nano: Bark) -> None:
    long = "hello world " * 300
    preset = nano.preset("en_male")
    assert preset is not None
    uneven = VoicePreset(preset.semantic, preset.coarse[:, :50], preset.fine[:, :50])
    calls = [
        lambda: nano.semantic(long, options=SHORT, seed=1),
        lambda: nano.generate(long, options=SHORT, seed=1, single=True),
        lambda: nano.stream(long, options=SHORT, seed=1, single=True).close(),
        lambda: nano.generate_batch([Request(long, options=SHORT, seed=1)]),
        lambda: nano.generate(TEXT, voice=uneven, options=SHORT, seed=1),
        lambda: nano.stream(TEXT, voice=uneven, options=SHORT, seed=1).close(),
        lambda: nano.generate_long("A: Hello.\n# not said", cast={"A": "en_male"}),
        lambda: nano.stream("A: Hello.\n# not said", options=SHORT, cast={"A": "en_male"}).close(),
    ]
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        assert {warning.filename for warning in caught} == {__file__}
        assert {warning.category for warning in caught} == {BarkWarning}


def test_everything_has_a_short_repr(nano: Bark) -> None:
    speech = nano.generate(TEXT, voice="en_male", options=SHORT, seed=7)
    stream = nano.stream(TEXT, options=SHORT, seed=7)
    chunk = next(stream)
    stream.close()
    engine = nano.engine(slots=2)
    job = engine.submit(Request("a" * 100, options=SHORT, seed=7))
    (passage,) = nano.generate_long(TEXT, options=SHORT, seed=7)
    with nano.worker(slots=1) as worker:
        task = worker.submit(Request(TEXT, options=SHORT, seed=7))
        task.wait(60)
        shown = [nano, speech, speech.tokens, stream, chunk, engine, job, passage, worker, task, nano.bundle]
        texts = [repr(one) for one in shown]
    for text in texts:
        assert len(text) < 200, text
        assert "array" not in text
        assert "\n" not in text
    assert "0.40 s" in texts[1] or "0.41 s" in texts[1]
    assert "seed 7" in texts[1]
    assert "nano" in texts[0]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode on this system")
@pytest.mark.parametrize("stem", [b"a\xff", b"a" * 50 + b"\xff"], ids=["short", "long"])
def test_a_file_name_may_be_any_bytes(nano: Bark, tmp_path: Path, stem: bytes) -> None:
    path = tmp_path / os.fsdecode(stem + b".wav")
    nano.generate(TEXT, options=SHORT, seed=7).save(path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_speech_is_saved_at_a_path_only(nano: Bark) -> None:
    """A number would be taken for an open file's, which is then written to and closed."""
    read, write = os.pipe()
    with pytest.raises(TypeError, match="not int"):
        nano.generate(TEXT, options=SHORT, seed=7).save(write)  # type: ignore[arg-type]
    os.close(write)  # it is still open
    assert os.read(read, 1) == b""
    os.close(read)


def test_a_speech_without_samples_has_a_repr(nano: Bark) -> None:
    speech = nano.generate(TEXT, options=SHORT, seed=7)
    assert repr(replace(speech, waveform=speech.waveform[:0])) == "<Speech of 0.00 s, seed 7, RTF inf>"


def test_a_notebook_plays_a_speech(nano: Bark) -> None:
    speech = nano.generate(TEXT, options=SHORT, seed=7)
    html = speech._repr_html_()
    encoded = re.search(r'src="data:audio/wav;base64,([^"]+)"', html)
    assert encoded is not None
    content = base64.b64decode(encoded[1])
    assert content[:4] == b"RIFF"
    assert len(content) > 2 * len(speech.waveform)


def test_the_package_hands_out_what_the_docs_name() -> None:
    for name in bark_onnx.__all__:
        assert getattr(bark_onnx, name) is not None
    assert StreamOptions().first_seconds == 0.1


def test_a_batch_takes_any_iterable_of_requests(nano: Bark) -> None:
    (speech,) = nano.generate_batch(Request(text, options=SHORT, seed=1) for text in [TEXT])
    assert speech.seed == 1
    for wrong in (None, "Hello", Request(TEXT)):
        with pytest.raises(BarkError, match="requests must be a list of Request"):
            nano.generate_batch(wrong)  # type: ignore[arg-type]
