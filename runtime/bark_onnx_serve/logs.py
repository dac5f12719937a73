"""The server's log: one line for each event, as text or as JSON. It has ids and lengths, never texts."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

from bark_onnx.errors import one_line

LogFormat = Literal["text", "json"]


def configure_logs(log_format: LogFormat) -> None:
    """Write the log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if log_format == "json" else _TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("bark_onnx_serve").setLevel(logging.INFO)


def with_fields(record: logging.LogRecord) -> str:
    """The message of a record with its fields, in one line."""
    fields = [f"{name}={_quoted(one_line(str(value)))}" for name, value in _fields(record).items()]
    return " ".join([record.getMessage(), *fields])


def _quoted(value: str) -> str:
    """A value, in quotes where it could be taken for more than one field."""
    return json.dumps(value, ensure_ascii=False) if re.search(r'[\s="]', value) else value


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {with_fields(record)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {"time": _time(record), "level": record.levelname, "message": record.getMessage(), **_fields(record)}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
