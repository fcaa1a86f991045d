"""Who decided about a held rollout on GitHub, and why: what the reviewers of an environment said about this run."""

import time
from collections.abc import Callable

from trunkline.clients.github import GitHub, workflow
from trunkline.errors import Error

# As in rollout.yml.
ENVIRONMENT = "promote-reviewed"
_SAID = {"promote": "approved", "rollback": "rejected"}


def review(action: str, wait: Callable[[float], None] = time.sleep) -> tuple[str, str]:
    """Name and reason, for the record.

    An environment that nobody has to review lets every job run: there nothing is decided.

    Args:
        action: ``promote``, which needs an approval, or ``rollback``, which needs a rejection.
        wait: called with the seconds to wait before GitHub is asked again.

    Raises:
        Error: nobody said so, this is no GitHub Actions job, or GitHub refuses or cannot be reached.
    """
    said = _SAID[action]
    github = GitHub(workflow.here(), wait)
    found = [one for one in github.reviews() if one.state == said and one.by and ENVIRONMENT in one.environments]
    if not found:
        hint = f"give the environment {ENVIRONMENT} required reviewers, or run the workflow rollout with this action"
        raise Error(f"no reviewer of {ENVIRONMENT} has {said} this run", hint)
    names = ", ".join(dict.fromkeys(one.by for one in found))
    comments = "; ".join(dict.fromkeys(text for one in found if (text := " ".join(one.comment.split()))))
    return names, comments or f"{said} on GitHub without a comment"
