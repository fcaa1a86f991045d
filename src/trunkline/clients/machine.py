"""What this machine has: GPUs, without torch, and room on its disks."""

import shutil
import subprocess
from pathlib import Path

from trunkline.errors import Error

COMMAND = "nvidia-smi"
SECONDS = 30.0  # a driver that hangs makes it hang too


def gpus() -> list[str]:
    """The names of the NVIDIA GPUs that the driver shows; none where there is no driver.

    Raises:
        Error: there is a driver, and it does not work.
    """
    if shutil.which(COMMAND) is None:
        return []
    command = [COMMAND, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Error(f"{COMMAND} does not answer within {SECONDS:.0f} s", "restart the machine or its driver") from None
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[:200]
        raise Error(f"{COMMAND} failed ({done.returncode}): {said}", "install the driver that fits the kernel")
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def free_bytes(folder: Path) -> int:
    """Room on the disk of a folder, or of the nearest one above it that is there."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def used_bytes(folder: Path) -> int:
    """What the files in a folder hold together; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
