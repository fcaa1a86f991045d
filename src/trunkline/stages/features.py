"""Apply the registered transforms, split off the holdout by customer, and fix the task."""

from pathlib import Path

from trunkline import featured
from trunkline.clients import files, project
from trunkline.params import Params
from trunkline.records import EXAMPLE_COLUMNS

EXAMPLES = Path("data/examples.parquet")
TRAIN = Path("data/train.parquet")
HOLDOUT = Path("data/holdout.parquet")
TASK = Path("data/task.json")
REPORT = Path("reports/features.json")


def run(params: Params) -> None:
    """Write the training examples with the canaries among them, the holdout and the task they are for.

    Raises:
        Error: an input is missing, the prompt or a transform is broken, one side is empty, or there is no
            place for canaries.
    """
    project.load(params.project.module)
    examples = files.read_table(EXAMPLES, EXAMPLE_COLUMNS, others=params.data.slices)
    found = featured.feature(examples, project.prompt(params.features.prompt), params)
    files.write_table(TRAIN, found.train)
    files.write_table(HOLDOUT, found.holdout)
    files.write_text(TASK, found.task.text())
    files.write_text(REPORT, found.report.text())
