"""What a machine has: GPUs as its driver tells them, and room on its disks."""

from pathlib import Path
from typing import NamedTuple

import pytest

from trunkline.clients import machine
from trunkline.errors import Error


class Usage(NamedTuple):
    """Of a disk, where the free room tells which folder was asked for: others write to the real one meanwhile."""

    free: Path


@pytest.fixture
def driver(in_tmp, monkeypatch):
    """Write the `nvidia-smi` that is on PATH."""
    monkeypatch.setenv("PATH", f"{in_tmp}:/usr/bin:/bin")
    monkeypatch.setattr(machine, "COMMAND", "nvidia-smi-here")

    def write(script: str) -> None:
        path = in_tmp / machine.COMMAND
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


def test_without_a_driver_there_is_no_gpu(driver):
    assert machine.gpus() == []


def test_each_gpu_is_named_with_its_memory(driver):
    driver("echo 'NVIDIA L4, 23034 MiB'; echo 'NVIDIA L4, 23034 MiB'")
    assert machine.gpus() == ["NVIDIA L4, 23034 MiB"] * 2


def test_a_driver_that_fails_is_an_error_with_its_words(driver):
    driver("echo 'Driver/library version mismatch' >&2; exit 18")
    with pytest.raises(Error, match=r"failed \(18\): Driver/library version mismatch"):
        machine.gpus()


def test_a_driver_that_hangs_is_an_error(driver, monkeypatch):
    monkeypatch.setattr(machine, "SECONDS", 0.1)
    driver("exec sleep 600")
    with pytest.raises(Error, match="does not answer within"):
        machine.gpus()


def test_room_is_told_for_a_folder_that_is_not_there_yet(in_tmp, monkeypatch):
    assert machine.free_bytes(in_tmp) > 0
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda folder: Usage(folder))
    assert machine.free_bytes(Path("models/base")) == in_tmp


def test_a_folder_holds_what_its_files_hold(in_tmp):
    assert machine.used_bytes(Path("models")) == 0
    (in_tmp / "models/base").mkdir(parents=True)
    (in_tmp / "models/base/one").write_bytes(bytes(10))
    (in_tmp / "models/two").write_bytes(bytes(5))
    assert machine.used_bytes(Path("models")) == 15
