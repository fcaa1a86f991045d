"""What is missing for each part of the work, with the command or page that mends it."""

import time
from collections.abc import Callable

from trunkline.operations.doctor import dvc, git, github, hub, machine
from trunkline.operations.doctor.diagnosis import page
from trunkline.params import Params
from trunkline.verdict import Verdict, worst


def run(params: Params, wait: Callable[[float], None] = time.sleep) -> tuple[str, Verdict]:
    """Look at this machine, this clone, its DVC remote, its repository on GitHub and the Hub; change nothing.

    Args:
        wait: called with the seconds to wait before GitHub is asked again.

    Returns:
        A block a part, and the worst verdict: fail when something is missing, inconclusive when something could
        not be asked.
    """
    on_github = github.check(params.report.comment_with, params.release, wait)
    parts = {
        "run the pipeline here": machine.check(),
        "hand results over through Git": git.check(),
        "hand data and weights over through DVC": dvc.check(),
        "judge pull requests on GitHub": on_github.pull_requests,
        "release from GitHub": on_github.releases,
        "watch what serves, and retrain, from GitHub": on_github.watching,
    }
    if params.release.hub is not None:
        parts["publish releases on the Hugging Face Hub"] = hub.check(params.release.hub)
    return page(parts), worst(diagnosis.verdict for part in parts.values() for diagnosis in part)
