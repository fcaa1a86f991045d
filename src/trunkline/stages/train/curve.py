"""The training curve as DVCLive files, for `dvc metrics` and `dvc plots`."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

os.environ.setdefault("DVCLIVE_LOGLEVEL", "ERROR")

from dvclive.live import Live
from scmrepo.exceptions import SCMError

from trunkline.errors import Error
from trunkline.stages.train.loop import History

FOLDER = Path("reports/train")


class Curve:
    """Writes a point a step; a run that goes on from a checkpoint writes the earlier points again."""

    def __init__(self, history: History) -> None:
        try:
            self._live = Live(dir=str(FOLDER), save_dvc_exp=False, dvcyaml=None, report=None)
        except SCMError as error:
            raise Error(f"DVCLive cannot read the Git repository: {error}", "make a first commit") from None
        for step in range(history.steps):
            self._log(history, step)

    def add(self, history: History) -> None:
        """Write the last step of the history."""
        self._log(history, history.steps - 1)

    def __enter__(self) -> Self:
        """Write until the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Finish the files."""
        self._live.end()  # type: ignore[no-untyped-call]

    def _log(self, history: History, step: int) -> None:
        self._live.step = step
        self._live.log_metric("loss", history.losses[step])
        self._live.log_metric("learning_rate", history.learning_rates[step])
        self._live.make_summary()  # type: ignore[no-untyped-call]
