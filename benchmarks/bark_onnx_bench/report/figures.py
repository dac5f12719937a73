"""Write figures to a JSON file."""

import json
from pathlib import Path
from typing import Any

from bark_onnx.files import replacing


def write_figures(path: Path, figures: dict[str, Any]) -> None:
    """Write `figures` as indented JSON. A failure leaves no partial file, and an existing file as it was."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=2) + "\n")
