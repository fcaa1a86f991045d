"""Serve on this machine what an environment's branch asks for: engines, the gateway, and who answers which units.

The branch is the only state. What runs is known again by what it was started for, so that a supervisor may be killed
at any moment: engines and gateway go on, and the next supervisor takes them over as they are.
"""

import asyncio
import logging
import signal
from contextlib import suppress
from pathlib import Path

import yaml

from trunkline import registry
from trunkline.clients import files, process, project
from trunkline.errors import Error
from trunkline.operations.supervise import commands
from trunkline.operations.supervise.branch import Branch
from trunkline.operations.supervise.fleet import Fleet
from trunkline.operations.supervise.routing import Place
from trunkline.operations.supervise.told import Told
from trunkline.params import Params

# Between two looks at whether all is as it should be.
_LOOK_S = 0.5

_log = logging.getLogger(__name__)


def run(params: Params, environment: str) -> str:
    """Make it so until SIGTERM or SIGINT; then end the gateway and the engines.

    Args:
        environment: such as ``production``.

    Returns:
        What was done, in words.

    Raises:
        Error: another supervisor uses the folder, this is no Git repository or no Linux, or the disk is full.
    """
    if not registry.is_name(environment):
        raise Error(f"{environment!r} cannot name an environment", "use a-z, 0-9, - and _, such as production")
    if params.serve.gateway.listen.endswith(":0"):
        raise Error("serve.gateway.listen leaves the port open", "give the gateway a port that clients know")
    project.load(params.project.module)
    folder = Path(params.supervise.folder).resolve()
    with process.alone("supervise", folder):
        files.write_text(folder / commands.PARAMS, _for_programs(params))
        asyncio.run(_supervise(params, Place(params.project.name, environment), folder))
    return f"{params.project.name} in {environment}: gateway and engines have ended"


def _for_programs(params: Params) -> str:
    """params.yaml as this process has read it, for what it starts: all its engines are embedded ones."""
    content = params.model_dump(mode="json", by_alias=True)
    for engine in content["serve"]["engines"].values():
        engine |= {"kind": "embedded", "model": None, "key": None}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


async def _supervise(params: Params, place: Place, folder: Path) -> None:
    stop, told = asyncio.Event(), Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    branch, fleet = Branch(place), Fleet(params, place, folder)
    following = asyncio.create_task(_follow(branch, fleet, told, params.supervise.poll_seconds))
    while not stop.is_set():
        if following.done():
            following.result()
        with told.about("the state of this machine"):
            fleet.reconcile()
        await _pause(stop, _LOOK_S)
    following.cancel()
    _log.info("supervise  ending the gateway, then the engines")
    await fleet.end()


async def _follow(branch: Branch, fleet: Fleet, told: Told, poll_seconds: float) -> None:
    """Read the branch again and again, first as this clone knows it: the remote may take long to answer."""
    with suppress(Error):
        fleet.asked = await asyncio.to_thread(branch.asked)
    while True:
        with told.about("the remote"):
            await asyncio.to_thread(branch.refresh)
        with told.about(branch.name):
            fleet.asked = await asyncio.to_thread(branch.asked)
        await asyncio.sleep(poll_seconds)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
