"""Check that a package's imports run one way between its rooms.

A room is a folder or a file directly below the package. A test lists the rooms from the ground up; a room may import
only from itself and from rooms before it.
"""

import ast
import graphlib
from collections.abc import Iterator, Sequence
from pathlib import Path


def assert_imports_run_one_way(package: Path, rooms: Sequence[str]) -> None:
    """Fail if a module imports from a later room, if modules import each other in a circle, or a room is not listed."""
    sources = {_name(package, source): source for source in sorted(package.rglob("*.py"))}
    graph = {name: set(_imports(package, source, set(sources))) for name, source in sources.items()}
    assert {_room(name) for name in sources} == set(rooms)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError if there is a circle
    upwards = {
        f"{name} imports {imported}"
        for name, names in graph.items()
        for imported in names
        if rooms.index(_room(imported)) > rooms.index(_room(name))
    }
    assert upwards == set()


def _name(package: Path, source: Path) -> str:
    """`bark_onnx_bench.peers.suno` for peers/suno.py."""
    parts = source.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _room(name: str) -> str:
    return [*name.split("."), "__init__"][1]


def _imports(package: Path, source: Path, modules: set[str]) -> Iterator[str]:
    """The package's own modules that a file imports, also inside functions."""
    folder = source.relative_to(package.parent).parent.parts
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            names = [f"{module}.{alias.name}" for alias in node.names]
            found = [name if name in modules else module for name in names]
        else:
            continue
        yield from (name for name in found if name in modules)
