"""Rows are read from every format alike; a bad row is an error of its own, a wrong file one line."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bark_onnx import BadRow, BarkError, BatchOptions, Columns, GenerationOptions, Row
from bark_onnx.jobs.job import check_job
from bark_onnx.jobs.reading import MOST_LINE, read_rows
from bark_onnx.jobs.row import MOST_TEXT, AnyRow, Defaults, Record, derived_seed, parse_row

DEFAULTS = Defaults("en_male", 5, GenerationOptions(top_k=7))
ROWS = [
    {"id": "one", "text": 'Hello, "world"!', "voice": "en_female", "seed": 3, "top_p": 0.5},
    {"id": "two", "text": "A text\nof two lines", "voice": None, "seed": None, "top_p": None},
    {"id": None, "text": "Grüße", "voice": None, "seed": None, "top_p": None},
]
EXPECTED = [
    Row(1, "one", 'Hello, "world"!', "en_female", 3, GenerationOptions(top_k=7, top_p=0.5)),
    Row(2, "two", "A text\nof two lines", "en_male", derived_seed(5, "two"), GenerationOptions(top_k=7)),
    Row(3, "000003", "Grüße", "en_male", derived_seed(5, "000003"), GenerationOptions(top_k=7)),
]


def json_lines(path: Path) -> Path:
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def separated(mark: str, suffix: str = ".csv") -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        def cell(value: object) -> str:
            return "" if value is None else '"' + str(value).replace('"', '""') + '"'

        path = path.with_suffix(suffix)
        lines = [mark.join(ROWS[0])] + [mark.join(map(cell, row.values())) for row in ROWS]
        path.write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
        return path

    return write


def in_parquet(path: Path) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = path.with_suffix(".parquet")
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.Table.from_pylist([{**row, "vector": [1.0]} for row in ROWS]), path, row_group_size=2)
    return path


def read(source: Path, columns: Columns | None = None) -> list[AnyRow]:
    columns = columns or Columns()
    return [parse_row(record, columns, DEFAULTS) for record in read_rows(source, columns)]


@pytest.mark.parametrize(
    "write",
    [json_lines, separated(","), separated(";"), separated("\t", ".tsv"), in_parquet],
    ids=["jsonl", "csv", "semicolons", "tsv", "parquet"],
)
def test_every_format_has_the_same_rows(write: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read(write(tmp_path / "rows"))
    assert [row.line for row in found] == ([1, 2, 3] if write in (json_lines, in_parquet) else [2, 3, 5])
    for row, expected in zip(found, EXPECTED, strict=True):
        if expected.id != "000003":
            assert row == Row(row.line, *list(vars(expected).values())[1:])
        else:
            assert row.id == f"{row.line:06}"  # the number of its line


def test_columns_have_the_names_that_they_are_given(tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("key,sentence,text\nx,Hello.,other\n")
    assert read(source, Columns(id="key", text="sentence")) == [
        Row(2, "x", "Hello.", "en_male", derived_seed(5, "x"), GenerationOptions(top_k=7))
    ]


@pytest.mark.parametrize("names", [{"id": "text"}, {"text": "top_k"}, {"voice": ""}, {"seed": 3}])
def test_columns_with_two_meanings_are_refused(names: dict[str, str]) -> None:
    with pytest.raises(BarkError, match="column"):
        Columns(**names)


BAD = {
    "not json": "not JSON",
    '{"text": "half': "not JSON",
    "[1, 2]": "not a JSON object, but a list",
    '{"id": "a"}': "no text (column 'text')",
    '{"text": null}': "no text",
    '{"text": ""}': "the text is empty",
    '{"text": "***"}': "nothing to say",
    '{"text": 42}': "the text must be a string, not int",
    '{"text": ["a"]}': "the text must be a string, not list",
    '{"text": "\\ud800 hello"}': "not valid Unicode",
    '{"text": "hello", "voice": 3}': "the voice must be a string, not int",
    '{"text": "hello", "seed": -1}': "a seed must be a whole number from 0",
    '{"text": "hello", "seed": 1.5}': "a seed must be a whole number",
    '{"text": "hello", "seed": "x"}': "the seed must be a number, not 'x'",
    '{"text": "hello", "top_k": 0}': "top_k must be at least 1, not 0",
    '{"text": "hello", "top_k": "many"}': "top_k must be a number, not 'many'",
    '{"text": "hello", "max_seconds": [1]}': "max_seconds must be a number",
    '{"text": "hello", "text_temperature": NaN}': "text_temperature",
    "[" * 100_000: "not JSON",
    json.dumps({"text": "a" * (MOST_TEXT + 1)}): f"a row at most {MOST_TEXT}",
}


def test_each_bad_row_is_an_error_with_its_line(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f"{line}\n\n" for line in BAD) + '{"text": "good"}')  # and empty lines
    found = read(source)
    for number, (row, expected) in enumerate(zip(found, BAD.values(), strict=False)):
        assert isinstance(row, BadRow)
        assert (row.line, row.id[:1]) == (2 * number + 1, row.id[:1])
        assert expected in row.error
    assert isinstance(found[-1], Row)


def test_bytes_that_are_not_utf_8_and_endless_lines_are_bad_rows(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b'{"text": "\xff"}\n' + b"x" * (MOST_LINE + 5) + b'\n{"text": "good"}\n')
    tracemalloc.start()
    first, second, third = read(source)
    assert tracemalloc.get_traced_memory()[1] < 3 * MOST_LINE
    tracemalloc.stop()
    assert isinstance(first, BadRow)
    assert isinstance(second, BadRow)
    assert (first.error, second.error[:22]) == ("the line is not UTF-8 (byte 10)", "the line is longer tha")
    assert isinstance(third, Row)
    table = tmp_path / "rows.csv"
    table.write_bytes(b'id,text\n1,\xff\n2,good\n3\n4,a,b\n5,"a"b\n6,good\n7,"open')
    errors = {row.line: row.error for row in read(table) if isinstance(row, BadRow)}
    assert {line: error.partition(",")[0] for line, error in errors.items()} == {
        2: "the line is not UTF-8",
        4: "the line has 1 cells",
        5: "the line has 3 cells",
        6: "the line is not CSV: '",
        8: "the line is not CSV: unexpected end of data",
    }


def test_zero_for_min_eos_p_means_none_as_on_the_command_line() -> None:
    row = parse_row(Record(1, {"text": "hello", "min_eos_p": "0", "fine_padding": "False"}), Columns(), DEFAULTS)
    assert isinstance(row, Row)
    assert (row.options.min_eos_p, row.options.fine_padding, row.options.top_k) == (None, False, 7)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.txt", b"hello", "rows are read from .jsonl"),
        ("rows.jsonl", b"PK\x03\x04", "not text"),
        ("rows.jsonl", b"{\0}", "zero bytes"),
        ("rows.csv", b"a,b\n1,2\n", "has no column 'text' (its columns: a, b): give --text-column"),
        ("rows.csv", b"", "has no column 'text'"),
        ("rows.csv", b"text,text\n", "has two columns 'text'"),
        ("rows.parquet", b"PAR1 and no more", "is not a Parquet file"),
        ("rows.parquet", b"", "is not a Parquet file"),
    ],
)
def test_a_file_that_is_something_else_is_one_line(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BarkError) as caught:
        read(tmp_path / name)
    assert said in str(caught.value)
    with pytest.raises(BarkError, match="cannot be read: No such file"):
        read(tmp_path / f"missing-{name}".replace(".txt", ".csv"))


@pytest.mark.skipif(os.name != "posix", reason="pipes with a name")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    """Rows are read more than once."""
    source = tmp_path / "rows.jsonl"
    os.mkfifo(source)
    with pytest.raises(BarkError, match="is not a plain file"):
        check_job(source, BatchOptions(), 1)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(BarkError, match=r"install pyarrow: .*pip install '\.\[parquet\]'"):
        read(tmp_path / "rows.parquet")


def test_parquet_of_other_types_and_damaged_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    source = tmp_path / "rows.parquet"
    columns = {"text": pyarrow.array([b"bytes", b"more"]), "id": pyarrow.array([1, 2]), "seed": np.array([1, 2])}
    parquet.write_table(pyarrow.table(columns), source)
    assert [row.error for row in read(source) if isinstance(row, BadRow)] == [
        "the text must be a string, not bytes"
    ] * 2
    parquet.write_table(pyarrow.table({"text": ["hello " * 50] * 5000}), source, compression="snappy")
    content = bytearray(source.read_bytes())
    content[20:400] = bytes(380)
    source.write_bytes(content)
    with pytest.raises(BarkError, match="damaged"):
        read(source)


def test_rows_are_read_while_they_are_needed_and_skipped_ones_are_not_parsed(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text("broken\n" * 10 + '{"text": "hello"}\n' * 100_000)
    asked: list[int] = []
    rows = read_rows(source, Columns(), skip=lambda line: asked.append(line) or line <= 10)
    assert next(rows) == Record(11, {"text": "hello"})
    assert asked == [*range(1, 12)]
