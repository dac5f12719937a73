"""The help of modules that are run as programs, all in one process, because importing torch takes seconds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable

Helps = dict[str, tuple[int, str]]  # by module: the exit status, and what was said

_PROGRAM = """
import contextlib, io, json, runpy, sys, traceback

helps = {}
for module in sys.argv[1:]:
    sys.argv = [module, "--help"]
    status, said = 0, io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
        except Exception:
            status = 1
            traceback.print_exc(file=said)
    helps[module] = status, said.getvalue()
print(json.dumps(helps))
"""


def helps_of(modules: Iterable[str]) -> Helps:
    """Run each module as `python -m MODULE --help` does."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", _PROGRAM, *modules]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    return {module: (status, said) for module, (status, said) in json.loads(result.stdout).items()}
