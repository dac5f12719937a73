"""The README's Python runs as it is printed, on a small bundle under the name that it gives."""

import re
from pathlib import Path

import pytest

from bark_onnx import compat

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=[f"block {n}" for n in range(1, len(BLOCKS) + 1)])
def test_an_example_runs(code: str, bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "bark-small-int8").symlink_to(bundle_with_voice)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(compat, "_loaded", None)
    exec(compile(code, str(README), "exec"), {})


def test_there_are_examples_and_the_tree_names_every_module() -> None:
    assert len(BLOCKS) == 4
    text = README.read_text(encoding="utf-8")
    modules = [path.name for root in ("runtime", "export") for path in (README.parent / root).rglob("*.py")]
    assert [name for name in modules if name != "__init__.py" and name not in text] == []
