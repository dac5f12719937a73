"""README and docs: their Python runs, their commands exist, their links lead somewhere, and the file tree is right."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from bark_onnx.command.cli import main
from markdown_pages import PAGES, README, ROOT, Page

READ = [Page.read(path) for path in PAGES]
DOCS = ROOT / "docs"
LANGUAGES = {"python", "console", "text"}
SOURCES = [path for root in ("runtime", "export", "benchmarks") for path in sorted((ROOT / root).rglob("*.py"))]
TIMEOUT = 300
by_name = pytest.mark.parametrize("page", READ, ids=lambda page: str(page.path.relative_to(ROOT)))

# Runs the blocks of a page one after another in one namespace, as a reader who types them in would. Prints a line after
# each block. The module is called __main__, as it is for the reader.
RUNNER = """
import json, sys
page, blocks = sys.argv[1], json.loads(sys.stdin.read())
for line, code in blocks:
    exec(compile("\\n" * (line - 1) + code, page, "exec"), globals())
    print(f"ran the block in line {line}", file=sys.stderr)
assert "torch" not in sys.modules, "the page imports torch"
"""


def page(name: str) -> Page:
    return Page.read(DOCS / name)


# Blocks of Python


@by_name
def test_the_python_of_a_page_runs_in_order(page: Page, tmp_path: Path) -> None:
    """On nano, without torch. A comment "not run" before a block excludes it; it must compile all the same."""
    blocks = page.blocks_of("python")
    for block in blocks:
        compile(block.code, f"{page.path.name}:{block.line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    to_run = [(block.line, block.code) for block in blocks if not block.not_run]
    if not to_run:
        return
    result = subprocess.run(
        [sys.executable, "-c", RUNNER, page.path.name],
        input=json.dumps(to_run), capture_output=True, text=True, cwd=tmp_path, timeout=TIMEOUT, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    ran = re.findall(r"^ran the block in line (\d+)$", result.stderr, re.MULTILINE)
    assert ran == [str(line) for line, _ in to_run]


@by_name
def test_every_block_has_a_language_that_is_checked(page: Page) -> None:
    assert {block.language for block in page.blocks} <= LANGUAGES


# Commands


@by_name
def test_console_blocks_begin_with_a_command(page: Page) -> None:
    """Lines without `$ ` are output, which no test reads."""
    assert [block.line for block in page.blocks_of("console") if not block.code.startswith("$ ")] == []


@by_name
def test_the_commands_of_a_page_exist(page: Page) -> None:
    """`bark-onnx` with its arguments is parsed, as a shell would pass them; of others, the target must exist."""
    problems = [f"{page.path.name}:{line}: {problem}" for line, words in page.commands if (problem := wrong(words))]
    assert problems == []


def wrong(words: list[str]) -> str | None:
    """What is wrong with a command; None if nothing is, or if it is not one of ours."""
    match words:
        case ["bark-onnx", *arguments]:
            return wrong_arguments(arguments)
        case ["make", target, *_]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            return None if re.search(rf"^{target}:", makefile, re.MULTILINE) else f"no make target {target}"
        case [("python" | ".venv/bin/python"), "-m", module, *arguments]:
            if importlib.util.find_spec(module) is None:
                return f"no module {module}"
            return wrong_options(arguments) if module.startswith("bark_onnx") else None
        case ["python", script, *_] if "/" in script:
            return None if (ROOT / script).is_file() else f"no file {script}"
        case ["pip", "wheel", "--no-deps", "-w", "dist", "."]:
            return None
        case ["pip", "install", requirement]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            unknown = set(re.findall(r"[\w-]+", requirement)) - extras.keys()
            return f"no extra {', '.join(unknown)}" if unknown else None
        case ["optimum-cli", "export", "bark-onnx", "--model", checkpoint, *arguments]:
            return wrong_arguments(["export", checkpoint, *arguments])
        case [program] if "/" in program:
            return None if (ROOT / program).is_file() else f"no file {program}"
        case [("aplay" | "curl" | "echo" | "export" | "hf" | "kubectl" | "nc" | "ray" | "serve" | "tail"), *_]:
            return None
        case _:
            return f"unknown program in {words}"


def wrong_arguments(arguments: list[str]) -> str | None:
    """Parse the arguments of `bark-onnx` without running the command."""
    # click keeps the names of a command's help option from the first context that the command is in.
    group = click.Context(main, **main.context_settings)
    try:
        name, command, rest = main.resolve_command(group, arguments)
        assert command is not None
        command.make_context(name, rest, parent=group)
    except click.UsageError as error:
        return error.format_message()
    return None


def wrong_options(arguments: list[str]) -> str | None:
    unknown = [word for word in arguments if word.startswith("--") and word != "--help" and not in_sources(word)]
    return f"unknown {', '.join(unknown)}" if unknown else None


def in_sources(option: str) -> bool:
    return any(f'"{option}"' in source.read_text(encoding="utf-8") for source in SOURCES)


@by_name
def test_every_option_in_the_text_exists(page: Page) -> None:
    options = {word for code in page.inline_code for word in re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)}
    assert [option for option in sorted(options - {"--help"}) if not in_sources(option)] == []


def test_the_command_page_has_every_command_and_every_option() -> None:
    text = page("command-line.md").prose
    sections = dict(re.findall(r"^## `bark-onnx (\w+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    commands = {name: main.get_command(click.Context(main), name) for name in main.list_commands(click.Context(main))}
    assert sorted(sections) == sorted(commands)
    for name, command in commands.items():
        assert command is not None
        documented = {
            option
            for cell in re.findall(r"^\| (.*?) \|", sections[name], re.MULTILINE)
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", cell)
        }
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert (name, sorted(documented)) == (name, sorted(options))


@by_name
def test_modules_and_files_in_the_text_exist(page: Page) -> None:
    """Such as `python -m bark_onnx_bench.peers` and `stages/coarse.py`, which is short for a file of the runtime."""
    modules = [name for code in page.inline_code for name in re.findall(r"python -m ([\w.]+)", code)]
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    files = [code for code in page.inline_code if re.fullmatch(r"[\w.-]+(/[\w.-]+)+\.py", code)]
    roots = (ROOT, ROOT / "runtime" / "bark_onnx")
    assert [name for name in files if not any((root / name).is_file() for root in roots)] == []


# Links


@by_name
def test_links_lead_somewhere(page: Page) -> None:
    """Files exist, and anchors are headings. Addresses on the web are not visited."""
    broken = []
    for link in page.links:
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.path.parent / name).resolve() if name else page.path
        if not target.exists() or (anchor and anchor not in Page.read(target).anchors):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index_and_in_the_readme() -> None:
    names = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    index = {link.partition("#")[0] for link in page("README.md").links}
    readme = {link.partition("#")[0].removeprefix("docs/") for link in Page.read(README).links}
    assert names - index == set()
    assert names - readme == set()


# Figures


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_every_result_is_shown_with_its_command(path: Path) -> None:
    text = "\n".join(page.path.read_text(encoding="utf-8") for page in READ)
    assert f"benchmarks/results/{path.name})" in text
    command = json.loads(path.read_text(encoding="utf-8")).get("command")
    assert command is None or command in text.replace("en_speaker_6.npz", "en_speaker_6")


# The file tree


def test_the_tree_has_every_room_and_every_module() -> None:
    """In the architecture page, the files of each folder are exactly those on disk."""
    shown: dict[str, set[str]] = {}
    root = folder = ""
    for line in (line for block in page("architecture.md").blocks_of("text") for line in block.code.splitlines()):
        if line.startswith(("runtime/", "export/", "benchmarks/")):
            root = folder = line.split()[0].removesuffix("/")
        elif found := re.match(r"  (\w+)/ ", line):
            folder = f"{root}/{found[1]}"
        elif found := re.match(r" +((?:\w+\.py ?)+)", line):  # what follows two spaces is the phrase
            shown.setdefault(folder, set()).update(found[1].split())
    there = on_disk()
    missing = {folder: files for folder in there if (files := there[folder] - shown.get(folder, set()))}
    gone = {folder: files for folder in shown if (files := shown[folder] - there.get(folder, set()))}
    assert (missing, gone) == ({}, {}), f"in docs/architecture.md add {missing} and remove {gone}"


def on_disk() -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for source in SOURCES:
        folders.setdefault(source.parent.relative_to(ROOT).as_posix(), set()).add(source.name)
    return folders


def test_the_order_of_the_rooms_is_the_tested_one() -> None:
    order = next(block.code for block in page("architecture.md").blocks_of("text") if block.code.startswith("errors, "))
    tree = ast.parse((ROOT / "tests" / "test_runtime_only.py").read_text(encoding="utf-8"))
    rooms = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS"
    )
    assert re.findall(r"\w+", order) == [room for room in rooms if not room.startswith("__")]
