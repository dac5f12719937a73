"""The runtime is lean: it speaks where only its own dependencies are installed, and its imports run one way."""

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bark_onnx
from bark_onnx.graphs.causal_graph import CAUSAL_INPUTS, INT8_PAST, INT8_PRESENT, LOGITS, PAST, PRESENT, USE_INT8
from bark_onnx.graphs.codec import CODEC_INPUTS, WAVEFORM
from bark_onnx.graphs.fine import FINE_INPUTS
from bark_onnx.graphs.sampler import FINE_SAMPLER_INPUTS, SAMPLED, SAMPLER_INPUTS, TOP_K_TOP_P_INPUTS

ROOT = Path(__file__).parents[1]
RUNTIME = Path(bark_onnx.__file__).parent
SOURCES = sorted(RUNTIME.rglob("*.py"))
DEPENDENCIES = {"click", "numpy", "onnxruntime", "soundfile", "soxr", "tokenizers", "tqdm"}
OPTIONAL = {  # extras, imported when they are used
    **{f"bark_onnx.audio.{name}": {"av"} for name in ("aac", "pyav", "tempo")},
    "bark_onnx.graphs.cuda": {"tensorrt"},
    "bark_onnx.jobs.parquet": {"pyarrow"},
    **{f"bark_onnx.hub.{name}": {"huggingface_hub"} for name in ("failures", "snapshot")},
    "bark_onnx.normalizing.libraries": {"babel", "emoji", "num2words"},
}
FOREIGN = ["av", "torch", "transformers", "onnx", "onnxscript", "safetensors", "scipy"]
OURS = ["bark_onnx_export", "bark_onnx_bench", "bark_onnx_serve"]

# From the ground up: a room imports only from rooms that come before it.
ROOMS = [
    "errors", "numbers", "arrays", "files", "progress", "hub", "model", "audio", "graphs", "sampling", "stages",
    "engine", "texts", "splitting", "normalizing", "subtitles", "long", "checks", "pipeline", "jobs", "__init__",
    "compat", "command", "__main__",
]  # fmt: skip


def tree(source: Path) -> ast.Module:
    return ast.parse(source.read_text(encoding="utf-8"))


def imports(source: Path) -> Iterator[str]:
    """Absolute names of everything that a file imports, inside functions too."""
    package = ["bark_onnx", *source.relative_to(RUNTIME).parent.parts]
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            module = base if node.level else (node.module or "")
            names = [f"{module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else module for name in names)


def module_name(source: Path) -> str:
    """`bark_onnx.engine.job` for engine/job.py."""
    return ".".join(["bark_onnx", *source.relative_to(RUNTIME).with_suffix("").parts]).removesuffix(".__init__")


def room(module: str) -> str:
    """The room of one of our modules: its folder, or for a file at the top its own name."""
    return [*module.split("."), "__init__"][1]


MODULES = {module_name(source) for source in SOURCES}

# Statically


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_the_runtime_imports_its_own_dependencies_only(source: Path) -> None:
    roots = {name.split(".")[0] for name in imports(source)} - {"bark_onnx"}
    assert roots <= sys.stdlib_module_names | DEPENDENCIES | OPTIONAL.get(module_name(source), set())
    calls = {
        node.func.id
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"__import__", "exec", "eval", "import_module"}
    assert "importlib" not in roots or {name for name in imports(source) if "importlib" in name} == {
        "importlib.metadata"
    }


def test_imports_run_one_way() -> None:
    graph = {module_name(source): {name for name in imports(source) if name in MODULES} for source in SOURCES}
    graphlib.TopologicalSorter(graph).prepare()  # raises if there is a circle
    upwards = {
        f"{module} imports {imported}"
        for module, names in graph.items()
        for imported in names
        if ROOMS.index(room(imported)) > ROOMS.index(room(module))
    }
    assert upwards == set()


def test_onnx_runtime_is_behind_four_files() -> None:
    """The room's own file turns telemetry off and checks that ONNX Runtime is installed."""
    users = {
        module_name(source)
        for source in SOURCES
        if "onnxruntime" in imports(source)
        or any(isinstance(node, ast.Name) and node.id == "ort" for node in ast.walk(tree(source)))
    }
    assert users - {"bark_onnx.graphs"} == {
        f"bark_onnx.graphs.{name}" for name in ("cuda", "device", "plugin", "session")
    }


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        ("causal_graph", {*CAUSAL_INPUTS, LOGITS, PAST, PRESENT, INT8_PAST, INT8_PRESENT, USE_INT8}),
        ("fine", {*FINE_INPUTS}),
        ("codec", {*CODEC_INPUTS, WAVEFORM}),
        ("sampler", {*SAMPLER_INPUTS, *TOP_K_TOP_P_INPUTS, *FINE_SAMPLER_INPUTS, SAMPLED} - {*FINE_INPUTS}),
    ],
)
def test_graph_inputs_and_outputs_are_named_in_the_file_of_their_network(owner: str, names: set[str]) -> None:
    naming = {
        source.stem
        for source in SOURCES
        for node in ast.walk(tree(source))
        if isinstance(node, ast.Constant) and node.value in names
    }
    shared = {"fine", "codec"}  # both have an input `codes`
    assert naming <= ({owner} | shared if owner in shared else {owner})
    assert owner in naming


# The tests of the runtime

TESTS = Path(__file__).parent
# Folders of tests that may need more than the runtime.
OTHERS = {"bench", "bundles", "cuda_stub", "export", "nano", "serve"}
FOREIGN_TO_TESTS = {
    *FOREIGN, *OURS, "bark_onnx_nano", "huggingface_hub", "matplotlib", "pocketsphinx",
}  # fmt: skip


def test_the_tests_of_the_runtime_need_no_more_than_the_runtime() -> None:
    """They and the modules of tests/ that they import, with imports inside functions."""
    helpers = {path.stem: path for path in TESTS.glob("*.py")}
    folders = [path for path in TESTS.iterdir() if path.is_dir() and path.name not in OTHERS]
    to_read = [path for folder in folders for path in folder.rglob("*.py")]
    to_read += [path for name, path in helpers.items() if name.startswith("test_") or name == "conftest"]
    assert len(to_read) > 40
    seen, problems = set(to_read), []
    while to_read:
        path = to_read.pop()
        for name in {name.split(".")[0] for name in imports_of_a_test(path)}:
            if name in FOREIGN_TO_TESTS:
                problems.append(f"{path.relative_to(TESTS)} imports {name}")
            if name in helpers and helpers[name] not in seen:
                seen.add(helpers[name])
                to_read.append(helpers[name])
    assert problems == []


def imports_of_a_test(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


# Here, where everything is installed


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


SPEAK = """
import json, sys
from bark_onnx import Bark, GenerationOptions
import bark_onnx.command.cli, bark_onnx.compat, bark_onnx.checks.compare
speech = Bark.load(sys.argv[1], device="cpu").generate("hello", options=GenerationOptions(max_seconds=0.1), seed=0)
speech.save(sys.argv[2])
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def test_speaking_loads_nothing_of_the_export(bundle: Path, tmp_path: Path) -> None:
    result = python(SPEAK, bundle, tmp_path / "hello.wav")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "hello.wav").stat().st_size > 44
    assert set(json.loads(result.stdout)) & {*FOREIGN, *OURS, "huggingface_hub"} == set()


WITHOUT_ONNX_RUNTIME = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
import bark_onnx
"""


@pytest.mark.parametrize(
    "statement",
    [
        "from bark_onnx import Bark",
        "import bark_onnx.pipeline",
        "from bark_onnx.compat import generate_audio",
        "bark_onnx.generate = bark_onnx.Bark",
    ],
)
def test_without_onnx_runtime_whoever_needs_it_is_told_what_to_install(statement: str) -> None:
    result = python(f"{WITHOUT_ONNX_RUNTIME}\n{statement}")
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert "bark-onnx needs ONNX Runtime: in a checkout of bark-onnx, run pip install '.[cpu]' (with" in message
    assert "'.[gpu]'" in message
    assert "During handling" not in result.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["say", "hello"]])
def test_without_onnx_runtime_the_command_is_one_line(arguments: list[str]) -> None:
    result = python(f"{WITHOUT_ONNX_RUNTIME}\nfrom bark_onnx.__main__ import main\nmain()", *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: bark-onnx needs ONNX Runtime: ")
    assert result.stderr.count("\n") == 1


def test_without_onnx_runtime_the_import_neither_exits_nor_looks_at_the_arguments() -> None:
    """Whatever the program is called; what the package does not have is still an AttributeError."""
    code = f"""
import sys
sys.argv[0] = "/usr/bin/bark-onnx"
{WITHOUT_ONNX_RUNTIME}
print(bark_onnx.__version__, hasattr(bark_onnx, "Barque"), issubclass(bark_onnx.MissingOnnxRuntimeError, ImportError))
"""
    result = python(code)
    assert (result.stdout, result.stderr) == (f"{bark_onnx.__version__} False True\n", "")


def test_an_onnx_runtime_that_does_not_load_says_why() -> None:
    """Another advice than to install it would be wrong."""
    code = """
import sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            raise ImportError("libcudart.so.12: cannot open shared object file")

sys.meta_path.insert(0, Broken())
import bark_onnx
"""
    assert python(code).stderr.splitlines()[-1] == "ImportError: libcudart.so.12: cannot open shared object file"


def test_without_package_metadata_it_works() -> None:
    """As in a frozen application. The commands of the other packages are found by metadata, and are missing."""
    code = """
import importlib.metadata, sys

def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

importlib.metadata.version = version
importlib.metadata.entry_points = lambda **_: importlib.metadata.EntryPoints()
import bark_onnx
from bark_onnx.__main__ import main
sys.argv = ["bark-onnx", "--version"]
main()
"""
    result = python(code)
    assert (result.stdout, result.stderr) == ("bark-onnx, version unknown\n", "")


# Nothing but what was asked for


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, str]:
    """An environment whose user has nothing but empty directories, and which no test or build can be told from."""
    names = [
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
    ]
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    directories = {name: tmp_path / "user" / name for name in names}
    for directory in directories.values():
        directory.mkdir(parents=True)
    return kept | {name: str(path) for name, path in directories.items()} | {"PYTHONDONTWRITEBYTECODE": "1"}


def say(homes: dict[str, str], bundle: Path, work: Path, *before: str) -> subprocess.CompletedProcess[str]:
    work.mkdir()
    command = [
        *before,
        sys.executable,
        "-m",
        "bark_onnx",
        "say",
        "hello",
        "-q",
        "--bundle",
        bundle,
        "--max-seconds",
        "0.3",
    ]
    return subprocess.run(command, cwd=work, env=homes, capture_output=True, text=True, timeout=120, check=False)


def test_speaking_writes_nothing_else(homes: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    """ONNX Runtime's telemetry, for example, would keep an identifier in the user's cache directory."""
    result = say(homes, bundle, tmp_path / "work")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert [path for path in (tmp_path / "user").rglob("*") if not path.is_dir()] == []
    assert sorted(path.name for path in (tmp_path / "user").rglob("*")) == sorted(
        name for name in homes if (tmp_path / "user" / name).is_dir()
    )
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["out.wav"]


def test_speaking_opens_no_socket_and_creates_no_other_file(
    homes: dict[str, str], bundle: Path, tmp_path: Path
) -> None:
    """Seen by the kernel, so that it does not matter which library does it."""
    log = tmp_path / "log"
    creating = "creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
    strace = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace=socket,open,openat,{creating}"]
    try:
        subprocess.run([*strace, "true"], check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("strace is not installed, or may not trace")
    result = say(homes, bundle, tmp_path / "work", *strace)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    calls = [line for line in log.read_text().splitlines() if "ENOENT" not in line and "resumed>" not in line]
    assert [call for call in calls if " socket(" in call] == []
    # The progress bar has a semaphore.
    ours = ("/dev/shm/sem.", str(tmp_path / "work" / ".out-bark-onnx-"))
    created = [call for call in calls if "O_CREAT" in call or not re.search(r" (socket|open|openat)\(", call)]
    assert [call for call in created if not any(place in call for place in ours)] == []
    assert [call for call in created if "/out.wav" in call] != []  # or nothing would have been seen


def test_telemetry_can_be_turned_on_by_the_user() -> None:
    code = "import os, bark_onnx; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    for given, expected in ({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0"):
        environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | given
        result = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
        )
        assert result.stdout.strip() == expected
