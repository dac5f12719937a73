"""The notebook of examples/: it is committed without outputs, and runs from top to bottom on nano."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile

from markdown_pages import ROOT
from test_docs import wrong

PATH = ROOT / "examples" / "bark_onnx.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
NOT_RUN = "download"  # the tag of cells that need a download
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def downloads(cell: dict[str, Any]) -> bool:
    return NOT_RUN in cell["metadata"].get("tags", ())


def test_it_is_committed_without_outputs() -> None:
    """Nor with what an editor adds: counts, times, widgets, the version of Python."""
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"], NOTEBOOK["metadata"]) == (4, 5, METADATA)
    for cell in NOTEBOOK["cells"]:
        assert cell["metadata"] in ({}, {"tags": [NOT_RUN]}), cell["id"]
    for cell in CODE:
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


def test_its_cells_have_names() -> None:
    """The ids are words of ours, which do not change when the notebook is written again."""
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(ids)) == len(ids)
    assert [id for id in ids if not re.fullmatch(r"[a-z]+(-[a-z]+)*", id)] == []


def test_the_first_cell_installs_and_only_the_last_ones_download() -> None:
    assert "%pip install" in source(CODE[0])
    tagged = [downloads(cell) for cell in CODE]
    assert tagged == sorted(tagged)
    assert any(tagged)
    assert [cell["id"] for cell in CODE if "suno/" in source(cell) and not downloads(cell)] == []
    assert re.findall(r"https?://\S+", PATH.read_text(encoding="utf-8")) == []


def test_its_commands_exist() -> None:
    lines = [line.strip() for cell in CODE for line in source(cell).splitlines()]
    commands = [line[1:].split() for line in lines if line.startswith("!")]
    assert commands
    assert [problem for words in commands if (problem := wrong(words))] == []


def test_it_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty directory. Cells that need a download are left out."""
    nbclient = pytest.importorskip("nbclient", reason="the extra `notebook` is not installed")
    pytest.importorskip("ipykernel", reason="the extra `notebook` is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra `notebook` is not installed")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "settings"))
    monkeypatch.delenv("BARK_ONNX_BUNDLE", raising=False)
    (tmp_path / "run").mkdir()
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)

    # nbclient answers a widget over the socket on which it waits for the cell's reply, and may then see that reply only
    # when its time is over: it takes the reply, and the cell counts as done.
    nbclient.NotebookClient(
        notebook, timeout_func=lambda cell: 15 if cell.id == "sliders" else 300, kernel_name="python3",
        skip_cells_with_tag=NOT_RUN,
        resources={"metadata": {"path": str(tmp_path / "run")}},
    ).execute()  # fmt: skip

    ran = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is not None}
    assert [*ran] == [cell["id"] for cell in CODE if not downloads(cell)]
    problems = {id for id, cell in ran.items() for output in cell.outputs if output.get("name") == "stderr"}
    assert problems == set()  # no warnings
    players = {id: sum("<audio" in html(output) for output in cell.outputs) for id, cell in ran.items()}
    if importlib.util.find_spec("ipywidgets"):  # then the player is in a widget, below the sliders
        widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
        assert {"FloatSliderModel", "IntSliderModel"} <= {widget["model_name"] for widget in widgets}
        outputs = [output for widget in widgets for output in widget["state"].get("outputs", ())]
        players["sliders"] += sum("<audio" in html(output) for output in outputs)
    assert {id: count for id, count in players.items() if count} == {
        "speak": 1, "hear": 1, "voices": 2, "own-voice": 1, "sliders": 1, "stream": 1, "batch": 3, "dialogue": 1,
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"dialogue.srt", "dialogue.wav", "my_voice.npz"}
    assert soundfile.info(tmp_path / "run" / "dialogue.wav").duration > 5
    assert "GUEST: Thank you for having me." in (tmp_path / "run" / "dialogue.srt").read_text(encoding="utf-8")


def html(output: dict[str, Any]) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))
