"""What the user writes: the module, so that its transforms and scorers register themselves, and the prompt."""

import importlib.util
import sys
from pathlib import Path

from trunkline.errors import Error

_MODULE = "trunkline_project"


def load(path: str) -> None:
    """Import the Python file ``project.module``.

    Raises:
        Error: it is missing or fails to import.
    """
    file = Path(path)
    hint = "correct project.module in params.yaml, or the file"
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise Error(f"{path} is not a Python file", hint)
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except Error:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises is the user's to fix
        raise Error(f"{path} cannot be imported: {type(error).__name__}: {error}", hint) from error


def prompt(path: str) -> str:
    """The text of the file ``features.prompt``.

    Raises:
        Error: it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"cannot read {path}: {error}", "correct features.prompt in params.yaml") from None
