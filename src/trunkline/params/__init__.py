"""params.yaml, typed: no defaults, all mistakes told at once.

PyYAML reads YAML 1.1 and DVC 1.2: write ``1.0e-4``, not ``1e-4``, which YAML 1.1 takes for text.
"""

from collections.abc import Hashable
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from yaml.constructor import ConstructorError

from trunkline.errors import Error
from trunkline.params.judging import DrillParams, EvaluateParams, GateParams
from trunkline.params.log import LogParams
from trunkline.params.monitor import MonitorParams
from trunkline.params.release import ReleaseParams
from trunkline.params.sections import DataParams, Params, TrainParams
from trunkline.records.rollout import Plan
from trunkline.records.ruled import BROKEN

__all__ = [
    "DataParams",
    "DrillParams",
    "EvaluateParams",
    "GateParams",
    "LogParams",
    "MonitorParams",
    "Params",
    "ReleaseParams",
    "TrainParams",
    "load",
    "load_plan",
]


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, as DVC does; YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise ConstructorError(None, None, f"{key.value} is written twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        Error: the file is missing, is not YAML, or has mistakes; all of them are listed.
    """
    content = _content(path, "run this from the repository's top folder")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise Error(_mistakes(path, error), f"correct {path}; its comments say what each value does") from None


def load_plan(path: Path) -> Plan:
    """Read and check one rollout's plan: the section ``rollout`` of a params.yaml, with a salt.

    Raises:
        Error: as of `load`.
    """
    content = _content(path, "give the plan that was committed when the rollout started")
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise Error(
            _mistakes(path, error), f"a plan has the keys of `rollout` in params.yaml: correct {path}"
        ) from None


def _content(path: Path, hint: str) -> object:
    try:
        content: object = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - it is a SafeLoader
    except FileNotFoundError:
        raise Error(f"{path} not found", hint) from None
    except OSError as error:
        raise Error(f"cannot read {path}: {error.strerror}", hint) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Error(f"{path} is not valid YAML: {error}", "correct that line") from None
    return content


def _mistakes(path: Path, error: ValidationError) -> str:
    return "\n".join(_mistake(path, detail) for detail in error.errors())


def _mistake(path: Path, detail: ErrorDetails) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == BROKEN:  # it names the values itself, and those of several sections by their paths
        return ": ".join(filter(None, (str(path), where, detail["msg"])))
    said = detail["msg"].removeprefix("Value error, ")
    told = f"{path}: {where or 'the whole file'}: {said}"
    if detail["type"] == "missing":  # pydantic's input is all that is there
        return f"{told}: add it"
    shown = repr(detail["input"])
    if len(shown) > 60:
        shown = shown[:57] + "..."
    next_step = "; remove it, or correct its name" if detail["type"] == "extra_forbidden" else ""
    return f"{told} (got {shown}){next_step}"
