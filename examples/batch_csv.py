"""Speak every row of a CSV file to a file of its own. After an interruption, run it again: it continues.

    python examples/batch_csv.py

The same job as a command, in two processes: bark-onnx batch lines.csv speech --format flac --workers 2 --report
"""

import json
from pathlib import Path

from bark_onnx import BatchOptions, run_batch

LINES = """id,text,voice,seed,text_temperature
morning,Good morning.,en_female,1,
answer,"Good morning to you, too!",en_male,2,0.9
nobody,Who says this?,nobody,,
"""

Path("lines.csv").write_text(LINES, encoding="utf-8")
report = run_batch("lines.csv", "speech", BatchOptions(format="flac"))
print(report.table)
for result in map(json.loads, report.results.read_text(encoding="utf-8").splitlines()):
    print(result["id"], result["path"] or f"failed: {result['error']}")
