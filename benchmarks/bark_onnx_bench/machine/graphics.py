"""NVIDIA graphics cards, as `nvidia-smi` reports them."""

import shutil
import subprocess


def graphics_cards() -> list[str]:
    """Return name, driver version and memory of each card; an empty list on a machine without one."""
    return _query("name,driver_version,memory.total", "csv,noheader").strip().splitlines()


def card_memory() -> int:
    """Return the megabytes in use on the first card, by all processes together; 0 on a machine without a card."""
    used = _query("memory.used", "csv,noheader,nounits").split()
    return int(used[0]) if used and used[0].isdecimal() else 0


def _query(fields: str, form: str) -> str:
    if shutil.which("nvidia-smi") is None:
        return ""
    command = ["nvidia-smi", f"--query-gpu={fields}", f"--format={form}"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
