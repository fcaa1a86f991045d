"""End what a run that was killed or cancelled has left behind in this working tree, and clear its half-written files.

Stages die with the command that started them, but not what they started themselves, and a runner that is reset
takes nobody along. What is left keeps the GPU and writes what the next run is writing.
"""

import logging
from pathlib import Path

from trunkline.clients import files, leftovers
from trunkline.errors import Error
from trunkline.params import Params

PATIENCE_S = 5.0
# DVC that is ended may have started one more command in the meantime.
_ROUNDS = 3

_log = logging.getLogger(__name__)


def run(params: Params) -> str:
    """Run first and last in a job: end leftover processes, then remove what they were writing.

    Returns:
        What was ended and removed.

    Raises:
        Error: a process does not end, or this is not Linux.
    """
    tree = Path()
    ended: list[leftovers.Process] = []
    for _ in range(_ROUNDS):
        found = leftovers.processes(tree)
        ended += [process for process in found if _end(process)]
        if not found:
            break
    else:
        left = ", ".join(str(process.pid) for process in leftovers.processes(tree))
        if left:
            raise Error(
                f"what earlier runs left here starts anew as it is ended: processes {left}", "stop what starts it"
            )
    stale = leftovers.stale_files(tree)
    for path in stale:
        files.remove(path)
    lines = [f"ended {process.pid}: {process.command}" for process in ended] + [f"removed {path}" for path in stale]
    return "\n".join(lines) if lines else "earlier runs have left nothing here"


def _end(process: leftovers.Process) -> bool:
    _log.info("reap  ending %d: %s", process.pid, process.command)
    if not leftovers.end(process, PATIENCE_S):
        raise Error(f"process {process.pid} does not end: {process.command}", "restart this machine")
    return True
