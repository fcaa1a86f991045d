"""Whether the pipeline can run here: Python, disk, GPU."""

import re
import sys
from pathlib import Path

import yaml

from trunkline.clients import dvc, files, machine
from trunkline.errors import Error
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown

PYTHONS = ((3, 11), (3, 12))  # as pyproject.toml says
MODELS = Path("models")
# base, production and candidate, in models/ and in DVC's cache: what one run leaves at most.
_COPIES = 6
_STAGE = re.compile(r"\s*(\S*/)?trunkline\s")


def check() -> list[Diagnosis]:
    """All of it; no GPU is no mistake, as the CPU trains too."""
    return [_python(sys.version_info[:2]), _disk(), _gpu(), *_stages()]


def _python(version: tuple[int, int]) -> Diagnosis:
    shown = ".".join(map(str, version))
    if version in PYTHONS:
        return passed("python", shown)
    return failed("python", f"{shown} is neither 3.11 nor 3.12", "make clean && make PYTHON=python3.12")


def _disk() -> Diagnosis:
    free, base = machine.free_bytes(MODELS), machine.used_bytes(MODELS / "base")
    if base == 0:
        return unknown("disk", f"{_gib(free)} free; the base model is not here to compare with", "trunkline base")
    needed = max(0, _COPIES * base - machine.used_bytes(MODELS))
    if free < needed:
        return failed(
            "disk", f"{_gib(free)} free, a run may need {_gib(needed)}", "dvc gc --workspace, or a larger disk"
        )
    return passed("disk", f"{_gib(free)} free, a run may need {_gib(needed)}")


def _gpu() -> Diagnosis:
    try:
        found = machine.gpus()
    except Error as error:
        return failed("gpu", error.problem, error.hint)
    return passed("gpu", ", ".join(found) or "none seen: the CPU trains")


def _stages() -> list[Diagnosis]:
    """Whether every stage dies with DVC, see `process.die_with_parent`; nothing where dvc.yaml cannot be read."""
    try:
        stages = yaml.safe_load(files.read_text(dvc.PIPELINE))["stages"]
        commands = {name: stage.get("do", stage).get("cmd") or [] for name, stage in stages.items()}
    except (Error, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return []  # `dvc repro` says what is wrong with it
    lines = {name: [command] if isinstance(command, str) else command for name, command in commands.items()}
    left = {name: line.strip() for name, found in lines.items() for line in found if _STAGE.match(line)}
    if not left:
        return [passed("stages", "die with DVC")]
    found = f"{', '.join(left)}: where the shell stays between, a killed DVC leaves them running"
    return [failed("stages", found, f"in dvc.yaml: cmd: exec {next(iter(left.values()))}")]


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
