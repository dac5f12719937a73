"""The public API: every name in it is documented, and the reference that `make docs` writes has no broken reference."""

import ast
import builtins
import html
import importlib
import importlib.util
import inspect
import keyword
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import bark_onnx
from markdown_pages import PAGES, ROOT, Page

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
REFERENCE = re.search(r"^REFERENCE := (.*)$", MAKEFILE, re.MULTILINE)
assert REFERENCE is not None
PUBLIC = REFERENCE[1].split()  # modules
NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*(\(\))?")
FILE = re.compile(r"\w*\.(jsonl|npy|npz)")
FOREIGN = {"openvino", "semantic_to_coarse_ratio"}  # ONNX Runtime's, suno-ai/bark's


# What is public


def test_modules_whose_names_are_public_are_in_the_reference() -> None:
    """They are the modules with `__all__`, which must not be promised by accident."""
    modules = [module.name for module in pkgutil.walk_packages(bark_onnx.__path__, "bark_onnx.")]
    listing = [name for name in modules if name != "bark_onnx.__main__" and has_all(name)]
    assert sorted(["bark_onnx", *listing]) == sorted(PUBLIC)


def has_all(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    return re.search(r"^__all__ = ", Path(spec.origin or "").read_text(encoding="utf-8"), re.MULTILINE) is not None


def test_what_the_docs_and_the_examples_import_is_public() -> None:
    compat = importlib.import_module("bark_onnx.compat")
    private = []
    code = [(page.name, block.code) for page in PAGES for block in Page.read(page).blocks_of("python")]
    code += [(path.name, path.read_text(encoding="utf-8")) for path in sorted((ROOT / "examples").rglob("*.py"))]
    for where, text in code:
        for node in ast.walk(compile(text, where, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bark_onnx":
                assert node.module is not None
                names = compat if node.module.startswith("bark_onnx.compat") else importlib.import_module(node.module)
                listed = getattr(names, "__all__", ())
                private += [f"{where}: {node.module}.{alias.name}" for alias in node.names if alias.name not in listed]
    assert private == []


def test_every_public_name_exists_and_has_a_docstring() -> None:
    missing = []
    for module in map(importlib.import_module, PUBLIC):
        missing += [] if module.__doc__ else [module.__name__]
        for name in module.__all__:
            documented = getattr(module, name)
            if inspect.isclass(documented):
                missing += [f"{name}.{member}" for member in undocumented(documented)]
            if callable(documented) and not documented.__dict__.get("__doc__", documented.__doc__):
                missing.append(name)
            # dataclass writes the signature where there is no docstring
            if inspect.isclass(documented) and (documented.__doc__ or "").startswith(f"{name}("):
                missing.append(name)
    assert missing == []


def undocumented(kind: type) -> Iterator[str]:
    for name, member in vars(kind).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function) and not function.__doc__:
            yield name


# The reference


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """The pages that pdoc writes, by path. A warning is an error."""
    if importlib.util.find_spec("pdoc") is None:
        pytest.skip("needs the extra `docs`: pdoc")
    directory = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-W", "error", "-m", "pdoc", "-d", "google", "-o", directory, *PUBLIC]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    texts = {path: path.read_text(encoding="utf-8") for path in directory.rglob("*.html")}
    return {path: re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL) for path, text in texts.items()}


def test_links_of_the_reference_lead_somewhere(pages: dict[Path, str]) -> None:
    assert len(pages) > len(PUBLIC)  # with the index
    anchors = {path: set(re.findall(r' id="([^"]+)"', text)) for path, text in pages.items()}
    broken, checked = [], 0
    for path, text in pages.items():
        for link in map(html.unescape, re.findall(r' href="([^"]+)"', text)):
            if link.startswith("https://"):
                continue
            checked += 1
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.is_file() or (anchor and anchor not in anchors[target]):
                broken.append(f"{path.name}: {link}")
    assert checked > 1000
    assert broken == []


def test_every_page_of_the_reference_can_be_reached_from_its_first_page(pages: dict[Path, str]) -> None:
    first = next(path for path in pages if path.name == "bark_onnx.html")
    index = next(path for path in pages if path.name == "index.html")
    assert "bark_onnx.html" in pages[index]
    links = {(first.parent / link.partition("#")[0]).resolve() for link in re.findall(r' href="([^"]+)"', pages[first])}
    assert {path.resolve() for path in pages} - links == {first.resolve(), index.resolve()}


def test_a_name_in_a_docstring_is_one_that_exists(pages: dict[Path, str]) -> None:
    """What stands in backticks and looks like a name is a link to its documentation, an argument or a value.

    pdoc makes a link of a name that it finds in the same class, in the same module, or by its whole path.
    """
    broken, links = [], 0
    for path, text in pages.items():
        for owner, code in codes(text):
            if code.startswith("<a "):
                links += 1
            elif NAME.fullmatch(code) and not is_known(code):
                broken.append(f"{path.stem}.{owner}: `{code}`")
    assert links > 50
    assert not broken, f"write the path of a public name, such as `Bark.generate`, or a plain word: {broken}"


def codes(text: str) -> Iterator[tuple[str, str]]:
    """What the docstrings of a page have in backticks, as HTML, with the name that has the docstring."""
    pieces = re.split(r'<(?:section|div) id="([^"]+)"', text)
    for owner, piece in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        for docstring in re.findall(r'<div class="docstring">(.*?)</div>', piece, re.DOTALL):
            for code in re.findall(r"<code>(.*?)</code>", docstring, re.DOTALL):
                yield owner, code


def is_known(code: str) -> bool:
    name = code.removesuffix("()")
    if FILE.fullmatch(name):
        return True
    if "." in name:
        module, _, attribute = name.rpartition(".")
        return module in sys.stdlib_module_names and hasattr(importlib.import_module(module), attribute)
    return keyword.iskeyword(name) or hasattr(builtins, name) or name in FOREIGN | arguments_and_values()


@cache
def arguments_and_values() -> set[str]:
    """The names of all arguments of the runtime, and its strings, such as "cuda"."""
    names: set[str] = set()
    for source in Path(bark_onnx.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
    return names
