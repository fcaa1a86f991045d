"""What the reports say, made again from what they are of: a report is a file that anybody can write.

The raw data, examples and comparison cost no GPU. What does, the training and the models' answers, is the run's word.
"""

import json
import shutil
from pathlib import Path

from trunkline import comparison, examples, featured
from trunkline.agreement import differences
from trunkline.clients import answers, files, project, tables
from trunkline.errors import Error
from trunkline.operations.release.contents import HOLDOUT, TASK, TRAIN, Contents
from trunkline.operations.release.proof import CANDIDATE
from trunkline.params import Params
from trunkline.records import Production, Report, Task

_AGAIN = "in a pull request: `dvc repro --pull --force --single-item {}`, commit dvc.lock and reports/"


def check(tree: Path, fetched: Path, contents: Contents, params: Params, reports: dict[str, Report]) -> None:
    """Make examples, holdout and comparison anew and hold them against what was fetched and the commit's reports.

    Args:
        tree: the commit's files.
        fetched: the folder that `contents.gather` filled; Git's raw partitions are put beside DVC's.
        contents: what it found.
        params: the commit's, and its module and prompt those checked out here.
        reports: of the commit, by step.

    Raises:
        Error: two of them differ by more than the last digits of a number, or cannot be compared at all.
    """
    project.load(params.project.module)
    _beside(tree, fetched, contents)
    raw = tables.read(fetched / params.data.folder, examples.columns(params.data))
    production = Production.read(Path(params.production.pinned))
    examined = examples.examine(raw.rows, raw.unreadable, params.data, production.partitions)
    _same("data", reports, examined.report, "the raw data")
    made = featured.feature(examined.examples, project.prompt(params.features.prompt), params)
    _same("features", reports, made.report, "the examples")
    for path, frame in ((TRAIN, made.train), (HOLDOUT, made.holdout)):
        if not files.read_parquet(fetched / path, "fetch it again").equals(frame):
            raise Error(f"{path} is not what the raw data make", _AGAIN.format("features"))
    if Task.read(fetched / TASK) != made.task:
        raise Error(f"{TASK} is not what prompt, transforms and data make", _AGAIN.format("features"))
    if contents.bundle.task != made.task:
        problem = f"{CANDIDATE} is not for the task of this prompt, these transforms and data"
        raise Error(problem, _AGAIN.format("train"))
    answered = comparison.match(*answers.read(contents.compared), params.terms)
    found = comparison.compare(answered, made.task.answer, params.terms)
    _same("compare", reports, found, "the answers of both models")


def _beside(tree: Path, fetched: Path, contents: Contents) -> None:
    for path, content in contents.data.items():
        if content.md5 is None:
            (fetched / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / path, fetched / path)


def _same(step: str, reports: dict[str, Report], found: Report, source: str) -> None:
    wrong = list(differences(json.loads(reports[step].text()), json.loads(found.text())))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise Error(f"reports/{step}.json is not what {source} say: {wrong[0]}{more}", _AGAIN.format(step))
