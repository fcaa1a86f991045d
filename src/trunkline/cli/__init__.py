"""The ``trunkline`` command: the only package that parses arguments, prints results or exits.

A step is imported only when it runs, so ``--help`` does not load torch.
"""

import argparse
import logging
import os
import sys
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from trunkline import __version__, params
from trunkline.cli.commands import ARGUMENTS, DECIDING, OPERATIONS, STAGES
from trunkline.clients import process
from trunkline.errors import Error
from trunkline.verdict import Verdict

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4}
EXIT_ERROR = 1


def _parser() -> argparse.ArgumentParser:
    stages = "\n".join(f"  {name:<12}{text}" for name, text in STAGES.items())
    operations = "\n".join(f"  {name:<12}{text}" for name, text in OPERATIONS.items())
    parser = argparse.ArgumentParser(
        prog="trunkline",
        usage="trunkline [-h] [--version] [-v] [--params FILE] STEP ...",
        description="Git as the control plane for fine-tuned LLMs.",
        epilog=f"stages, run by `dvc repro` in this order:\n{stages}\n\n"
        f"operations:\n{operations}\n\n"
        "exit codes: 0 pass, 1 error, 2 usage, 3 fail, 4 inconclusive (a human decides)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trunkline {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on stderr")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="default: params.yaml")
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP", prog="trunkline", help=argparse.SUPPRESS)
    for name, text in {**STAGES, **OPERATIONS}.items():
        step = steps.add_parser(name, help=text, description=text)
        for flag, options in ARGUMENTS.get(name, {}).items():
            step.add_argument(flag, **options)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one step and return its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What a terminal cannot show is a question mark there, not the end of the run.
        sys.stdout.reconfigure(errors="replace")
    arguments = _parser().parse_args(argv)
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
