"""The README: it fits on three screens, names the two commands, and its figures are those of the result file."""

import json
import re

import pytest

from markdown_pages import README, ROOT, Page

PAGE = Page.read(README)
LONGEST = 125  # lines
PEERS = json.loads((ROOT / "benchmarks" / "results" / "peers-small.json").read_text(encoding="utf-8"))
NAMES = {"bark-small-mixed": "bark-onnx mixed", "bark-small-int8": "bark-onnx int8", "bark.cpp": "bark.cpp f16"}


def peer_rows() -> dict[str, list[str]]:
    """The rows of the table of peers, by name and precision."""
    rows = re.findall(r"^\| (.+?) \| (\S+).*? \| (\S+) \| (\S+)x \|$", PAGE.prose.replace("**", ""), re.MULTILINE)
    return {f"{name} {precision}": [factor, speed] for name, precision, factor, speed in rows}


def test_it_fits_on_three_screens() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_it_names_the_two_commands() -> None:
    assert {("make", "run"), ("make", "test")} <= {tuple(words) for _, words in PAGE.commands}


def test_there_is_a_row_for_every_peer() -> None:
    assert set(peer_rows()) == {NAMES.get(peer["name"], peer["name"]) for peer in PEERS["peers"]}


@pytest.mark.parametrize("peer", PEERS["peers"], ids=lambda peer: peer["name"])
def test_the_figures_of_a_peer_are_the_measured_ones(peer: dict[str, object]) -> None:
    """RTF with two decimals; speed with one, compared with transformers in fp32."""
    name, factor = str(peer["name"]), peer["real_time_factor"]
    slowest = next(other["real_time_factor"] for other in PEERS["peers"] if other["name"] == "transformers fp32")
    assert isinstance(factor, float)
    shown_factor, shown_speed = map(float, peer_rows()[NAMES.get(name, name)])
    assert shown_factor == pytest.approx(factor, abs=0.0051)
    assert shown_speed == pytest.approx(slowest / factor, abs=0.051)
