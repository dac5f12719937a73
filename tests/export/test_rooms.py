"""The exporter's folders are rooms, and imports between them go one way."""

import ast
import graphlib
from pathlib import Path

import bark_onnx_export

EXPORTER = Path(bark_onnx_export.__file__).parent
PACKAGE = "bark_onnx_export"

# A room imports only from rooms that come before it. Files at the top are rooms of their own.
ROOMS = [
    "errors", "sources", "weights", "layouts", "modules", "graphs", "bundle", "checkpoint", "verify", "convert",
    "__init__", "cli",
]  # fmt: skip


def module_name(source: Path) -> str:
    """`bark_onnx_export.graphs.tracing` for graphs/tracing.py."""
    return ".".join([PACKAGE, *source.relative_to(EXPORTER).with_suffix("").parts]).removesuffix(".__init__")


SOURCES = {module_name(source): source for source in sorted(EXPORTER.rglob("*.py"))}


def imports(source: Path) -> set[str]:
    """The modules of the exporter that a file imports, inside of functions too."""
    package = [PACKAGE, *source.relative_to(EXPORTER).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in SOURCES else module for alias in node.names
            }
    return {name for name in found if name.split(".")[0] == PACKAGE}


def room(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room(module) for module in SOURCES} == set(ROOMS)


def test_imports_go_one_way() -> None:
    graph = {module: imports(source) for module, source in SOURCES.items()}
    assert set().union(*graph.values()) <= SOURCES.keys()
    graphlib.TopologicalSorter(graph).prepare()  # raises if there is a circle
    upwards = {
        f"{module} imports {imported}"
        for module, names in graph.items()
        for imported in names
        if ROOMS.index(room(imported)) > ROOMS.index(room(module))
    }
    assert upwards == set()


def test_only_torch_free_files_are_imported_with_the_commands() -> None:
    """`bark-onnx --help` loads the commands, also where torch is not installed."""
    tree = ast.parse(SOURCES[f"{PACKAGE}.cli"].read_text(encoding="utf-8"))
    assert [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level] == []
