"""Prints requirements.lock: every package that `pip install .[train,serve,dev]` would take, pinned.

torch is pinned without its local build label, so that a CPU build and a CUDA build both satisfy the lock.
"""

import json
import subprocess
import sys

_HEADER = "# Written by `make lock` from pyproject.toml; do not edit."
_BUILD = ["hatchling", "editables"]


def main() -> None:
    """Resolve in an empty environment and print the result, sorted by name."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qq", "--report", "-"]
    done = subprocess.run([*command, ".[train,serve,dev]", *_BUILD], stdout=subprocess.PIPE, check=True)
    packages = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    pins = {package["name"].lower(): package["version"].partition("+")[0] for package in packages}
    pins.pop("trunkline")
    print(_HEADER, *(f"{name}=={version}" for name, version in sorted(pins.items())), sep="\n")


if __name__ == "__main__":
    main()
