"""Runs the step that was asked for: what `main` needs once the arguments are known to be right."""

import argparse
import logging
import os
import sys
from importlib import import_module
from io import TextIOWrapper

from trunkline import params
from trunkline.cli.commands import ARGUMENTS, DECIDING, EXIT_CODES, EXIT_ERROR, STAGES
from trunkline.clients import process
from trunkline.errors import Error
from trunkline.verdict import Verdict


def run(arguments: argparse.Namespace) -> int:
    """Run one step and return its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What a terminal cannot show is a question mark there, not the end of the run.
        sys.stdout.reconfigure(errors="replace")
    _configure_logging(arguments.verbose)
    try:
        return _run(arguments)
    except Error as error:
        print(f"error: {error.problem}\nhint: {error.hint}", file=sys.stderr)
        # Only here: most runs need nothing of GitHub.
        import_module("trunkline.clients.github.workflow").annotate("error", error.problem)
        return EXIT_ERROR


def _run(arguments: argparse.Namespace) -> int:
    settings = params.load(arguments.params)
    if arguments.step in STAGES:
        process.die_with_parent()
        with process.alone(arguments.step):
            import_module(f"trunkline.stages.{arguments.step}").run(settings)
        return 0
    operation = import_module(f"trunkline.operations.{arguments.step}")
    taken = (flag.removeprefix("--").replace("-", "_") for flag in ARGUMENTS.get(arguments.step, {}))
    found = operation.run(settings, **{name: getattr(arguments, name) for name in taken})
    text, verdict = found if isinstance(found, tuple) else (found, Verdict.PASS)
    _show(text)
    return EXIT_CODES[verdict] if arguments.step in DECIDING else 0


def _show(text: str) -> None:
    """Print a result; a reader that wants no more of it, such as `head`, changes nothing about what was found."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise Error(f"cannot print the result: {error.strerror}", "free disk space, and run this again") from None


def _configure_logging(verbose: bool) -> None:
    logger = logging.getLogger("trunkline")
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
