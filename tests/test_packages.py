"""The wheel and the sdist: what is in them, and what works where only they and their dependencies are installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LARGEST_WHEEL = 18_000_000  # bytes
NOT_NEEDED = ["av", "torch", "transformers", "onnx", "onnxscript", "safetensors", "scipy"]

# What pip says where it reaches no package index.
UNREACHABLE = ("connection", "name resolution", "timed out", "proxyerror")


def run(*command: str | Path, cwd: Path, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing of this process's environment in reach."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, env=clean, check=False)


# Building


def build(source: Path, out: Path, *options: str) -> None:
    """Build without a network, where this system allows a process to have none."""
    offline = ["unshare", "--map-root-user", "--net"]
    try:
        subprocess.run([*offline, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        offline = []
    command = [*offline, sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options, str(source)]
    result = run(*command, cwd=out.parent)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sdist and the wheel, each built from this checkout."""
    if importlib.util.find_spec("build") is None or importlib.util.find_spec("hatchling") is None:
        pytest.skip("needs the extra `test`: build and hatchling")
    out = tmp_path_factory.mktemp("built") / "dist"
    build(ROOT, out, "--sdist", "--wheel")
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def sources(package: Path) -> Iterator[Path]:
    """The files of a package, without what Python wrote beside them."""
    return (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_the_wheel_has_whole_packages_and_nothing_else(built: dict[str, Path]) -> None:
    """No tests, and not the recipe by which nano was trained; nano itself is in it, with its model card."""
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    roots = [ROOT / package for package in packages]
    assert {"bark_onnx", "bark_onnx_bench", "bark_onnx_export", "bark_onnx_serve"} <= {root.name for root in roots}
    assert not {"bark_onnx_nano", "tests"} & {name.partition("/")[0] for name in names}
    expected = {path.relative_to(root.parent).as_posix() for root in roots for path in sources(root)}
    assert names == expected | {"bark_onnx/nano/MODEL_CARD.md"}
    assert {"bark_onnx/py.typed", "bark_onnx/nano/manifest.json", "bark_onnx_serve/page/main.js"} <= names
    assert built["wheel"].stat().st_size <= LARGEST_WHEEL


def test_the_sdist_has_every_file_of_the_project(built: dict[str, Path]) -> None:
    """And none that happens to lie in the checkout, such as an exported bundle."""
    with tarfile.open(built["sdist"]) as sdist:
        members = sdist.getmembers()
    assert all(member.isfile() for member in members)
    names = {member.name.partition("/")[2] for member in members}
    assert {"LICENSE", "tests/conftest.py", "export/bark_onnx_nano/MODEL_CARD.md", ".ci/constraints.txt"} <= names
    listing = run("git", "ls-files", "-z", cwd=ROOT) if (ROOT / ".git").exists() and shutil.which("git") else None
    if listing is None or listing.returncode != 0:
        pytest.skip("git does not say which files are the project's")
    listed = [name for name in listing.stdout.split("\0") if name]
    assert {name for name in listed if (ROOT / name).is_file()} - names == set()
    assert {name.partition("/")[0] for name in names} - {name.partition("/")[0] for name in listed} == {"PKG-INFO"}


def test_the_sdist_builds_the_same_wheel(built: dict[str, Path], tmp_path: Path) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    build(source, tmp_path / "dist", "--wheel")
    (wheel,) = (tmp_path / "dist").iterdir()
    assert wheel.name == built["wheel"].name
    assert wheel.read_bytes() == built["wheel"].read_bytes()


# Installed


def install(package: Path, directory: Path, constraints: Path) -> Path:
    """Install a package and what its runtime needs in a fresh virtual environment. Return its `bin`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--python", directory / "bin" / "python", "install", "--quiet", "--no-compile"]
    # In an environment variable, constraints take the place of those that the user's configuration has.
    constrained = ["env", f"PIP_CONSTRAINT={constraints.as_uri()}"]
    options = ["--disable-pip-version-check", "--retries=1"]
    result = run(*constrained, *pip, *options, f"{package}[cpu]", cwd=directory, timeout=600)
    if result.returncode and any(word in result.stderr.lower() for word in UNREACHABLE):
        pytest.skip("pip reaches no package index")
    assert result.returncode == 0, result.stderr
    return directory / "bin"


@pytest.fixture(scope="module")
def environment(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and with the dependencies that CI has."""
    return install(built["wheel"], tmp_path_factory.mktemp("wheel") / "venv", ROOT / ".ci" / "constraints.txt")


@pytest.fixture(scope="module")
def environment_of_the_sdist(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the sdist, and with the lowest versions of its dependencies."""
    directory = tmp_path_factory.mktemp("sdist")
    project = PROJECT["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    if sys.version_info >= (3, 13):  # which the lowest numpy does not have
        required = [requirement for requirement in required if not requirement.startswith("numpy")]
    lowest = directory / "lowest.txt"
    lowest.write_text("\n".join(requirement.replace(">=", "==") for requirement in required))
    return install(built["sdist"], directory / "venv", lowest)


def installed(environment: Path, program: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(environment / program, *arguments, cwd=cwd)


COMPAT = """
import sys
from bark_onnx.compat import SAMPLE_RATE, generate_audio
from bark_onnx.compat.generation import preload_models
preload_models()
audio = generate_audio("Hello.", history_prompt="en_male")
print(SAMPLE_RATE, audio.dtype, len(audio) > SAMPLE_RATE // 10, "torch" in sys.modules)
"""


@pytest.mark.skipif(os.name != "posix", reason="looks for programs where POSIX has them")
@pytest.mark.parametrize("kind", ["environment", "environment_of_the_sdist"], ids=["wheel", "sdist"])
def test_nano_speaks_where_only_the_package_is_installed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Whole, in a stream and by the names of suno-ai/bark. Its own hashes fit."""
    environment: Path = request.getfixturevalue(kind)
    hello = ("Hello.", "--voice", "en_male", "--seed", "7", "-q")
    commands = (
        ("--help",),
        ("say", *hello, "-o", "whole.wav"),
        ("say", *hello, "--stream", "--exact", "-o", "stream.wav"),
        ("info",),
        ("verify",),
    )
    for arguments in commands:
        result = installed(environment, "bark-onnx", *arguments, cwd=tmp_path)
        assert (arguments, result.returncode, result.stderr) == (arguments, 0, "")
    whole, stream = ((tmp_path / name).read_bytes() for name in ("whole.wav", "stream.wav"))
    assert len(whole) > 10_000
    assert whole[:4] == stream[:4] == b"RIFF"
    assert len(stream) == len(whole)
    result = installed(environment, "python", "-W", "ignore", "-c", COMPAT, cwd=tmp_path)  # nano is not Suno's Bark
    assert (result.stdout, result.stderr) == ("24000 float32 True False\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stream.wav", "whole.wav"]


@pytest.mark.skipif(os.name != "posix", reason="looks for programs where POSIX has them")
class TestFreshEnvironment:
    def test_it_has_neither_torch_nor_what_exports(self, environment: Path, tmp_path: Path) -> None:
        code = f"import importlib.util; print([name for name in {NOT_NEEDED} if importlib.util.find_spec(name)])"
        assert installed(environment, "python", "-c", code, cwd=tmp_path).stdout == "[]\n"
        where = "import bark_onnx, bark_onnx_export, bark_onnx_bench, bark_onnx_serve; print(bark_onnx.__file__)"
        path = Path(installed(environment, "python", "-c", where, cwd=tmp_path).stdout.strip())
        assert path.is_relative_to(environment.parent)  # not the checkout
        assert (path.parent / "py.typed").is_file()

    def test_it_speaks(self, environment: Path, bundle: Path, tmp_path: Path) -> None:
        command = ("say", "hello", "-q", "--bundle", bundle, "--seed", "1", "--max-seconds", "0.3")
        result = installed(environment, "bark-onnx", *command, cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert (tmp_path / "out.wav").read_bytes()[:4] == b"RIFF"

    @pytest.mark.parametrize("arguments", [["info"], ["verify"], ["voices"], ["bench", "--repeats", "1"]], ids=" ".join)
    def test_what_needs_no_checkpoint_works(
        self, environment: Path, bundle: Path, tmp_path: Path, arguments: list[str]
    ) -> None:
        result = installed(environment, "bark-onnx", *arguments, bundle, cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")

    @pytest.mark.parametrize("command", ["export", "verify"])
    def test_what_needs_torch_names_the_extra(
        self, environment: Path, bundle: Path, tmp_path: Path, command: str
    ) -> None:
        checkpoint = ROOT / "export" / "bark_onnx_nano" / "bark-nano"
        arguments = [checkpoint, tmp_path / "out"] if command == "export" else [bundle, "--checkpoint", checkpoint]
        result = installed(environment, "bark-onnx", command, *arguments, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == (
            "Error: reading a checkpoint needs torch: in a checkout of bark-onnx, run pip install '.[export]' "
            "(with its wheel: 'WHEEL[export]')\n"
        )
        assert list(tmp_path.iterdir()) == []

    def test_serving_names_the_extra(self, environment: Path, tmp_path: Path) -> None:
        result = installed(environment, "bark-onnx", "serve", cwd=tmp_path)
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: serving needs ")
        advice = "in a checkout of bark-onnx, run pip install '.[serve]' (with its wheel: 'WHEEL[serve]')"
        assert result.stderr.endswith(f": {advice}\n")

    def test_every_command_has_help(self, environment: Path, tmp_path: Path) -> None:
        for command in ("batch", "info", "say", "voices", *PROJECT["project"]["entry-points"]["bark_onnx.commands"]):
            assert installed(environment, "bark-onnx", command, "--help", cwd=tmp_path).returncode == 0

    def test_how_long_the_import_takes(self, environment: Path, tmp_path: Path) -> None:
        """Only printed: see it with pytest -s."""
        code = "from time import perf_counter as now; a = now(); import bark_onnx; print(f'{now() - a:.3f}')"
        result = installed(environment, "python", "-c", code, cwd=tmp_path)
        print(f"import bark_onnx: {float(result.stdout)} s")
