"""Whether tests have their full form: `make test-full` runs more variants, rows, requests and random examples.

`make test` leaves out what is marked `pytest.mark.full`: variants that take long, beside others of the same test.
"""

import os

FULL = os.environ.get("BARK_ONNX_TEST") == "full"
REASON = "only in make test-full, for time"
