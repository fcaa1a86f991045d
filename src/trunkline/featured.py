"""From examples to a task: inputs by the registered transforms, and the split into training examples and holdout.

The stage `features` writes it down; `release` makes it again, as a report is a file that anybody can write.
"""

from typing import NamedTuple

import polars as pl

from trunkline import memorisation, prompts, transforms
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import CANARIES, INPUT_COLUMN, Answer, Report, Task
from trunkline.split import in_holdout
from trunkline.verdict import Check, Limit, within


class Featured(NamedTuple):
    """What is made of the examples.

    Attributes:
        train: the training examples with the canaries among them.
        holdout: the evaluation split.
        task: what both are for.
        report: of the stage ``features``.
    """

    train: pl.DataFrame
    holdout: pl.DataFrame
    task: Task
    report: Report


def feature(examples: pl.DataFrame, template: str, params: Params) -> Featured:
    """Make the inputs and split them by customer.

    Args:
        examples: EXAMPLE_COLUMNS and the slices.
        template: the text of ``features.prompt``.
        params: whose transforms are registered.

    Raises:
        Error: the prompt or a transform is broken, one side is empty, or there is no place for canaries.
    """
    task = _task(params, template, examples["answer"])
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
    return Featured(pl.concat([train, planted]), holdout, task, Report.of("features", checks, metrics, details))


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


def _task(params: Params, template: str, answers: pl.Series) -> Task:
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
