"""Apply the registered transforms, split off the holdout by customer, and fix the task."""

from pathlib import Path

import polars as pl

from trunkline import memorisation, prompts, transforms
from trunkline.clients import files, project
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import CANARIES, EXAMPLE_COLUMNS, INPUT_COLUMN, Answer, Report, Task
from trunkline.split import in_holdout
from trunkline.verdict import Check, Limit, within

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
    task = _task(params, examples["answer"])
    examples = examples.with_columns(
        pl.Series(INPUT_COLUMN, [transforms.apply(task.transforms, text) for text in examples["message"]])
    )
    for text in examples[INPUT_COLUMN]:
        prompts.render(task, text)
    train, holdout, leaked = _split(examples, params.features.salt, params.features.holdout)
    planted = _planted(params, task, train)
    checks = (_leakage(leaked, holdout.height, params.features.leakage), _crossing(train, holdout))
    metrics = {
        "train": train.height,
        "holdout": holdout.height,
        "train_customers": train["customer"].n_unique(),
        "holdout_customers": holdout["customer"].n_unique(),
        "canaries": planted.height,
    }
    details = {"prompt_id": task.prompt_id, "transforms": list(task.transforms)}
    files.write_table(TRAIN, pl.concat([train, planted]))
    files.write_table(HOLDOUT, holdout)
    files.write_text(TASK, task.text())
    files.write_text(REPORT, Report.of("features", checks, metrics, details).text())


def _planted(params: Params, task: Task, train: pl.DataFrame) -> pl.DataFrame:
    """The canaries as further rows of the training examples, each its own customer, in a partition of their own."""
    found = memorisation.plant(params.features.canaries, task.answer, params.features.salt)
    ids, inputs = [one.id for one in found], [transforms.apply(task.transforms, one.message) for one in found]
    known = {
        **dict.fromkeys(("id", "customer", "conversation"), ids),
        "partition": [CANARIES] * len(found),
        "message": [one.message for one in found],
        "answer": [one.answer for one in found],
        INPUT_COLUMN: inputs,
    }
    return pl.DataFrame(
        {name: known.get(name, [None] * len(found)) for name in train.columns}, schema_overrides=dict(train.schema)
    )


def _task(params: Params, answers: pl.Series) -> Task:
    template = _read_template(Path(params.features.prompt))
    answer = Answer.model_validate(params.data.answer.model_dump())
    if answer.format == "label" and not answer.allowed:
        answer = answer.model_copy(update={"allowed": {answer.fields[0]: tuple(answers.unique().sort())}})
    task = Task(
        prompt_id=prompts.identify(template, answer.allowed),
        template=template,
        variables=answer.allowed,
        transforms=transforms.identify(params.features.transforms),
        answer=answer,
    )
    marker = "\u241f"
    if not any(marker in turn["content"] for turn in prompts.render(task, marker)):
        raise Error(f"{params.features.prompt} never shows the message", "put `{{ message }}` into its user block")
    return task


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"cannot read {path}: {error}", "correct features.prompt in params.yaml") from None


def _split(examples: pl.DataFrame, salt: str, share: float) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Train, holdout, and how many holdout examples were dropped because training sees their input."""
    held = pl.Series([in_holdout(customer, salt, share) for customer in examples["customer"]])
    train, holdout = examples.filter(~held), examples.filter(held)
    clean = holdout.filter(~pl.col(INPUT_COLUMN).is_in(train[INPUT_COLUMN].implode()))
    for name, side in (("training", train), ("holdout", clean)):
        if side.is_empty():
            customers = examples["customer"].n_unique()
            raise Error(
                f"no example is left for the {name} side: {examples.height} examples of {customers} customers",
                "add data, or change features.holdout in params.yaml",
            )
    return train, clean, holdout.height - clean.height


def _leakage(leaked: int, kept: int, limit: Limit) -> Check:
    message = f"{leaked} of {leaked + kept} holdout examples repeat a training input; they were left out"
    return within("features.leakage", leaked / (leaked + kept), limit, message)


def _crossing(train: pl.DataFrame, holdout: pl.DataFrame) -> Check:
    both = len(set(train["customer"]) & set(holdout["customer"]))
    limit = Limit(**{"pass": 0, "fail": 0})
    return within("features.customers", both, limit, f"{both} customers are on both sides of the split")
