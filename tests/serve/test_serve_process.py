"""The command as a process: its options, its signals, its exit status."""

import errno
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bark_onnx import BarkError
from bark_onnx.command.cli import main
from bark_onnx_serve.cli import serve
from bark_onnx_serve.listening import addresses, listening_sockets, port_of
from bark_onnx_serve.settings import Settings
from serving import LONG, SPEECH, connected, raw_request, request, speech, until

SERVE = "from bark_onnx_serve.cli import serve; from bark_onnx.command.cli import main; main.add_command(serve); main()"

# Lets SIGUSR1 kill the engine's thread at its next step, and makes each step take longer.
MORTAL = """
import signal, time
from bark_onnx.engine.engine import Engine
step, killed = Engine.step, []
def slow(engine):
    time.sleep(0.003)
    assert not killed, "killed by a test"
    return step(engine)
Engine.step = slow
signal.signal(signal.SIGUSR1, lambda *_: killed.append(True))
"""


@contextmanager
def serving(
    *arguments: str | Path, code: str = SERVE, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port, from the time when it has loaded its model."""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "BARK_ONNX_PORT": "0", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--threads", "1", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=given,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"at http://127\.0\.0\.1:(\d+)", line)
        assert found, line + process.stderr.read()
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit status, and the rest of standard error."""
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def test_it_serves_with_options_from_the_environment_and_ends_well(bundle: Path) -> None:
    environment = {
        "BARK_ONNX_BUNDLE": str(bundle),
        "BARK_ONNX_API_KEY": "one two",
        "BARK_ONNX_LOG_FORMAT": "json",
        "BARK_ONNX_MAX_CHARACTERS": "5",
    }
    with serving(**environment) as (process, port):
        key = {"Authorization": "Bearer two", "Content-Type": "application/json"}
        assert request(port, "POST", SPEECH, json.dumps(speech("hello")).encode(), key).status == 200
        assert request(port, "POST", SPEECH, json.dumps(speech("hello!")).encode(), key).status == 400
        assert request(port, "GET", "/v1/models").status == 401
        process.send_signal(signal.SIGTERM)
        status, said = ended(process)
    assert status == 0
    lines = [json.loads(line) for line in said.splitlines()]
    # A line comes after its answer, perhaps after the next answer too.
    assert sorted(line["status"] for line in lines if line["message"] == "request") == [200, 400, 401]
    (told,) = [line for line in lines if line["message"] != "request"]
    assert (told["message"], told["in_progress"], told["drain_seconds"]) == ("stopping after SIGTERM", 0, 30)


def test_sigterm_lets_streams_end_and_accepts_nothing_more(bundle: Path) -> None:
    with serving("--bundle", bundle, code=MORTAL + SERVE) as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        body = speech(LONG[:400], response_format="wav", seed=5)
        connection.request("POST", SPEECH, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        process.send_signal(signal.SIGTERM)
        until(lambda: not accepts(port))
        assert len(response.read()) > 48_000 * 2  # to the end, or it would raise
        assert ended(process)[0] == 0


def test_sigterm_lets_what_waits_end_too(bundle: Path) -> None:
    with (
        serving("--bundle", bundle, "--slots", "1", code=MORTAL + SERVE) as (process, port),
        ThreadPoolExecutor(3) as clients,
    ):

        def ask(fields: dict[str, object]) -> int:
            return request(port, "POST", SPEECH, json.dumps(fields).encode(), JSON).status

        kinds = (speech(LONG[:150]), speech(stream=False), speech(stream_format="sse"))
        answers = [clients.submit(ask, kind) for kind in kinds]
        until(lambda: metric(port, "bark_onnx_requests_in_progress") == 3)
        process.send_signal(signal.SIGTERM)
        assert [answer.result() for answer in answers] == [200] * 3
        status, said = ended(process)
        assert status == 0
        # The first may have ended meanwhile.
        assert re.search(r" INFO stopping after SIGTERM in_progress=[123] drain_seconds=30$", said, re.MULTILINE)


JSON = {"Content-Type": "application/json"}


def metric(port: int, name: str) -> float:
    lines = request(port, "GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def test_sigterm_cuts_what_does_not_end_in_time(bundle: Path) -> None:
    with (
        serving("--bundle", bundle, "--drain-seconds", "0", code=MORTAL + SERVE) as (process, port),
        connected(port) as connection,
    ):
        connection.sendall(raw_request(speech(LONG)))
        connection.recv(1000)
        process.send_signal(signal.SIGTERM)
        status, said = ended(process)
        assert status == 0
        assert "Traceback" not in said
        came = b""
        while content := connection.recv(1 << 20):
            came += content
        assert not came.endswith(b"0\r\n\r\n")


def test_the_death_of_the_engine_ends_the_process(bundle: Path) -> None:
    with serving("--bundle", bundle, code=MORTAL + SERVE) as (process, port), connected(port) as connection:
        connection.sendall(raw_request(speech(LONG)))
        connection.recv(1000)
        start = time.monotonic()
        process.send_signal(signal.SIGUSR1)
        status, said = ended(process)
        assert time.monotonic() - start < 10
    assert status == 1
    assert "CRITICAL the engine has died" in said
    assert said.splitlines()[-1] == "Error: the engine has died: see the log above"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SERVE, "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_a_port_in_use_is_one_line(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--bundle", bundle, "--port", str(port))
    assert result.returncode == 1
    problem = "another program uses this port; take another --port"
    said = f"Error: cannot listen on 127.0.0.1, port {port}: {problem}\n"
    assert result.stderr == said


def test_without_a_bundle_the_log_says_that_the_voice_is_a_demonstration() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends
        result = run("--port", str(taken.getsockname()[1]))
    assert "INFO this is nano, a demonstration voice" in result.stderr


def test_a_name_is_listened_to_on_all_its_addresses_with_one_port(bundle: Path) -> None:
    with serving("--bundle", bundle, "--host", "localhost", "--wyoming", "0") as (process, port):
        assert request(port, "GET", "/health").status == 200
        if has_ipv6():
            with socket.create_connection(("::1", port), timeout=5):
                pass
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "tcp://127.0.0.1:" in line
        assert ("tcp://[::1]:" in line) == has_ipv6()


def test_ctrl_c_ends_an_idle_server_with_a_line(bundle: Path) -> None:
    with serving("--bundle", bundle) as (process, _):
        process.send_signal(signal.SIGINT)
        status, said = ended(process)
    assert status == 0
    assert re.fullmatch(r"\S+ INFO stopping after SIGINT in_progress=0 drain_seconds=30\n", said)


def test_all_addresses_are_those_of_ipv4_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket on :: alone would leave out IPv4, and so would a server of uvicorn's."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with listening_sockets("::", 0) as sockets:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port_of(sockets)), timeout=5).close()
        assert addresses(sockets, "http") == f"http://[::]:{port_of(sockets)}"
    named(monkeypatch, [(socket.AF_INET6, ("::", 0)), (socket.AF_INET, ("0.0.0.0", 0))])
    with listening_sockets("a name that means both", 0) as sockets:
        assert [own.family for own in sockets] == [socket.AF_INET6, socket.AF_INET]


def has_ipv6() -> bool:
    """Whether localhost means ::1 too, and this machine has that address."""
    try:
        found = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM, family=socket.AF_INET6)
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return bool(found)


LOOPBACKS = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.2", 0))]


def named(monkeypatch: pytest.MonkeyPatch, places: list[tuple[int, tuple[str, int]]]) -> None:
    """Give a name these addresses."""
    found = [(family, socket.SOCK_STREAM, 6, "", place) for family, place in places]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **named: found)


def test_all_addresses_of_a_name_get_the_same_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the first one that is free on one of them is in use on the other."""
    named(monkeypatch, [*LOOPBACKS, LOOPBACKS[0]])
    create, taken = socket.create_server, []

    def in_use_at_first(place: tuple[str, int], **options: Any) -> socket.socket:
        if place[0] == "127.0.0.2" and not taken:
            taken.append(place[1])
            raise OSError(errno.EADDRINUSE, "in use")
        return create(place, **options)

    monkeypatch.setattr(socket, "create_server", in_use_at_first)
    with listening_sockets("somewhere", 0) as sockets:
        assert [own.getsockname()[0] for own in sockets] == ["127.0.0.1", "127.0.0.2"]
        port = port_of(sockets)
        assert {own.getsockname()[1] for own in sockets} == {port}
        assert addresses(sockets, "http", "/a") == f"http://127.0.0.1:{port}/a and http://127.0.0.2:{port}/a"
    assert taken


def test_an_address_that_this_machine_lacks_is_left_out_unless_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = (socket.AF_INET, ("192.0.2.1", 0))  # reserved for documentation
    named(monkeypatch, [elsewhere, LOOPBACKS[0]])
    with listening_sockets("somewhere", 0) as sockets:
        assert [own.getsockname()[0] for own in sockets] == ["127.0.0.1"]
    named(monkeypatch, [elsewhere])
    with pytest.raises(BarkError, match="no such address; take another --host"), listening_sockets("somewhere", 0):
        pass


def test_a_port_in_use_on_one_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, LOOPBACKS)
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BarkError, match="take another --port"), listening_sockets("somewhere", port):
            pass
        with socket.create_server(("127.0.0.1", port)):
            pass  # nothing holds it


@pytest.mark.parametrize("host", ["a" * 100, "nowhere.invalid", "::zz", "a b"])
def test_a_host_that_means_nothing_is_one_line(host: str) -> None:
    with pytest.raises(BarkError, match=r"cannot listen on .*; take another --host"), listening_sockets(host, 0):
        pass


@pytest.mark.parametrize("host", ["", " "])
def test_an_empty_host_is_one_line(host: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--host", host])
    assert result.exit_code == 1
    assert result.output == "Error: --host is empty: give an address, such as 127.0.0.1, or :: for all addresses\n"


def test_a_bundle_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = run("--bundle", tmp_path / "nothing", "--port", "0")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1


def test_an_alias_without_a_voice_is_refused_by_how_it_should_look() -> None:
    result = CliRunner().invoke(main, ["serve", "--voice-alias", "alloy"])
    assert result.exit_code == 2
    assert "'alloy' is not NAME=VOICE" in result.output


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_key_in_the_environment_does_not_open_the_server(value: str) -> None:
    result = CliRunner().invoke(main, ["serve"], env={"BARK_ONNX_API_KEY": value})
    assert result.exit_code == 1
    assert "BARK_ONNX_API_KEY has no key in it" in result.output


@pytest.mark.parametrize("missing", [(), ("num2words",)])
def test_the_log_says_that_numbers_are_not_read_as_words(
    missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bark_onnx_serve.cli.missing", lambda: missing)
    monkeypatch.setattr("bark_onnx_serve.logs.configure_logs", lambda form: None)
    monkeypatch.setattr("bark_onnx_serve.process.serve", lambda load, settings: None)
    with caplog.at_level("INFO"):
        assert CliRunner().invoke(main, ["serve"]).exit_code == 0
    assert ("numbers are spoken as they are written" in caplog.text) == bool(missing)


def test_every_option_has_its_name_in_the_environment() -> None:
    """A key under another name would leave the server open."""
    options = [option for option in serve.params if isinstance(option, click.Option) and option.name != "help"]
    assert len(options) > 15
    for option in options:
        name = option.opts[0].removeprefix("--").replace("-", "_").upper()
        assert option.envvar == f"BARK_ONNX_{name}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "example.org"])
def test_who_listens_for_others_without_a_key_is_warned(host: str) -> None:

    assert Settings(host=host).is_local == (host in ("127.0.0.1", "localhost", "::1"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["request_seconds", "max_seconds_queued"])
def test_a_limit_is_a_number(name: str, value: float) -> None:
    """A limit that is not a number is never reached."""
    with pytest.raises(BarkError, match=f"--{name.replace('_', '-')} must be a number, not {value}"):
        Settings(**{name: value})
