"""The ``trunkline`` command: the only package that parses arguments, prints results or exits.

A step is imported only when it runs, so ``--help`` does not load torch; and nothing that takes its time to import is
imported outside `main`, so an interrupt meets it there.
"""

import argparse
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from trunkline import __version__
from trunkline.cli.commands import ARGUMENTS, EXIT_CODES, EXIT_ERROR, OPERATIONS, STAGES

__all__ = ["EXIT_CODES", "EXIT_ERROR", "OPERATIONS", "STAGES", "main"]


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
    """Run one step and return its exit code; when interrupted, say so in a line and die by the signal."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = import_module("trunkline.cli.steps").run(arguments)
    except KeyboardInterrupt:
        # On a terminal the line of the progress is still open.
        start = "\n" if sys.stderr.isatty() else ""
        told = f"interrupted: `trunkline {arguments.step}` has not finished; run it again, nothing half-written counts"
        print(start + told, file=sys.stderr, flush=True)
        _die_interrupted()
    return code


def _die_interrupted() -> NoReturn:
    """Die by SIGINT, so that a shell, make or DVC that waits for this process stops as well; a shell says 130."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    raise SystemExit(128 + signal.SIGINT)  # where the signal is blocked
