"""The README: it fits on three screens, names the two commands, and its figures are those of the result file."""

import json
import re

import pytest

from markdown_pages import README, ROOT, Page

PAGE = Page.read(README)
LONGEST = 125  # lines
RESULTS = ("peers-small.json", "peers-small-voice.json")  # in the order of the columns
PEERS = [json.loads((ROOT / "benchmarks" / "results" / name).read_text(encoding="utf-8"))["peers"] for name in RESULTS]
NAMES = {"bark-small-mixed": "bark-onnx mixed", "bark-small-int8": "bark-onnx int8"}


def peer_rows() -> dict[str, list[str]]:
    """The rows of the table of peers, by name and precision: RTF and speed without a voice, then with one."""
    row = r"^\| (.+?) \| (\S+).*? \| (\S+) \| (\S+)x \| (\S+) \| (\S+)x \|$"
    rows = re.findall(row, PAGE.prose.replace("**", ""), re.MULTILINE)
    return {f"{name} {precision}": figures for name, precision, *figures in rows}


def test_it_fits_on_three_screens() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_it_names_the_two_commands() -> None:
    assert {("make", "run"), ("make", "test")} <= {tuple(words) for _, words in PAGE.commands}


def test_there_is_a_row_for_every_peer() -> None:
    for peers in PEERS:
        assert set(peer_rows()) == {NAMES.get(peer["name"], peer["name"]) for peer in peers}


@pytest.mark.parametrize("column", range(len(RESULTS)))
@pytest.mark.parametrize("place", range(len(PEERS[0])))
def test_the_figures_of_a_peer_are_the_measured_ones(column: int, place: int) -> None:
    """RTF with two decimals; speed with one, compared with transformers in fp32."""
    peers, peer = PEERS[column], PEERS[column][place]
    name, factor = peer["name"], peer["real_time_factor"]
    slowest = next(other["real_time_factor"] for other in peers if other["name"] == "transformers fp32")
    shown_factor, shown_speed = map(float, peer_rows()[NAMES.get(name, name)][2 * column : 2 * column + 2])
    assert shown_factor == pytest.approx(factor, abs=0.0051)
    assert shown_speed == pytest.approx(slowest / factor, abs=0.051)
