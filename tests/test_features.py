"""The features stage: same transforms as serving, a customer on one side for ever, no leak."""

import polars as pl
import pytest

import starter
from trunkline import prompts, transforms
from trunkline.clients import files
from trunkline.errors import Error
from trunkline.records import Report, Task
from trunkline.stages import features
from trunkline.verdict import Verdict


@pytest.fixture
def project(in_tmp):
    starter.inputs(in_tmp)
    starter.examples(in_tmp)
    return in_tmp


def outputs() -> tuple[pl.DataFrame, pl.DataFrame, Task, Report]:
    return (
        pl.read_parquet(features.TRAIN),
        pl.read_parquet(features.HOLDOUT),
        Task.read(features.TASK),
        Report.read(features.REPORT),
    )


def test_every_example_is_on_exactly_one_side(project):
    features.run(starter.settings(project))
    train, holdout, _, report = outputs()
    examples = pl.read_parquet(features.EXAMPLES)
    assert sorted([*train["id"], *holdout["id"]]) == sorted(examples["id"])
    assert report.verdict is Verdict.PASS
    assert report.metrics["train"] == train.height


def test_no_customer_ever_crosses_even_as_data_grow(project):
    features.run(starter.settings(project))
    train, holdout, _, _ = outputs()
    starter.examples(project, 200)
    features.run(starter.settings(project, features__holdout=0.4))
    later_train, later_holdout, _, _ = outputs()
    assert not set(train["customer"]) & set(holdout["customer"])
    assert not set(later_train["customer"]) & set(later_holdout["customer"])
    assert not set(holdout["customer"]) & set(later_train["customer"])


def test_training_reads_what_serving_would_compute(project):
    features.run(starter.settings(project))
    train, holdout, task, _ = outputs()
    for frame in (train, holdout):
        for message, text in zip(frame["message"], frame["input"], strict=True):
            assert transforms.apply(task.transforms, message) == text
            assert text in prompts.render(task, text)[-1]["content"]


def test_a_holdout_example_that_training_sees_is_left_out_and_told(project):
    frame = starter.examples(project)
    features.run(starter.settings(project))
    train, holdout, _, _ = outputs()
    seen = train["message"][0]
    leaked = frame.with_columns(
        pl.when(pl.col("id") == holdout["id"][0]).then(pl.lit(f"  {seen} ")).otherwise("message").alias("message")
    )
    files.write_table(features.EXAMPLES, leaked)
    features.run(starter.settings(project))
    _, clean, _, report = outputs()
    assert holdout["id"][0] not in clean["id"]
    assert clean.height == holdout.height - 1
    assert report.verdict is not Verdict.PASS


def test_a_label_answer_without_a_closed_set_learns_its_labels(project):
    frame = starter.examples(project).with_columns(answer=pl.lit("card_lost"))
    files.write_table(features.EXAMPLES, frame)
    (project / "label.jinja").write_text("{% block user %}{{ intent | join('|') }}: {{ message }}{% endblock %}")
    answer = {"format": "label", "fields": ["intent"], "allowed": {}}
    features.run(starter.settings(project, data__answer=answer, features__prompt="label.jinja"))
    assert outputs()[2].answer.allowed == {"intent": ("card_lost",)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"features__holdout": 0.999999}, "no example is left for the training side"),
        ({"features__holdout": 0.000001}, "no example is left for the holdout side"),
        ({"features__transforms": ["shout@1"]}, "shout@1 is not registered"),
        ({"features__prompt": "data/prompts/none.jinja"}, "cannot read data/prompts/none.jinja"),
        ({"project__module": "src/none.py"}, "src/none.py is not a Python file"),
    ],
)
def test_a_mistake_is_one_clear_error(project, changes, said):
    with pytest.raises(Error, match=said):
        features.run(starter.settings(project, **changes))
    assert not features.TRAIN.exists()


def test_a_prompt_that_never_shows_the_message_is_refused(project):
    (project / "mute.jinja").write_text("{% block user %}hello{% endblock %}")
    with pytest.raises(Error, match="never shows the message"):
        features.run(starter.settings(project, features__prompt="mute.jinja"))


@pytest.mark.parametrize("content", [None, b"", b"PAR1", "truncated", "columns", "numbers"])
def test_damaged_examples_are_refused(project, content):
    path = features.EXAMPLES
    if content is None:
        path.unlink()
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "columns":
        files.write_table(path, pl.read_parquet(path).drop("customer"))
    elif content == "numbers":
        files.write_table(path, pl.read_parquet(path).with_columns(message=pl.lit(1)))
    else:
        path.write_bytes(content)
    with pytest.raises(Error, match=r"not found|damaged|lacks the columns|column message has values that are not text"):
        features.run(starter.settings(project))


# Canaries


PLANTED = {"features__canaries": 5, "data__answer__fields": ["intent", "urgency", "note"]}


def test_canaries_are_planted_in_the_training_examples_alone_and_counted_apart(project):
    features.run(starter.settings(project))
    plain, held_out, _, _ = outputs()
    features.run(starter.settings(project, **PLANTED))
    train, holdout, task, report = outputs()
    planted = train.filter(pl.col("partition") == "canaries")
    assert planted.height == report.metrics["canaries"] == 5
    assert report.metrics["train"] == plain.height == train.height - 5
    assert train.head(plain.height).equals(plain)
    assert holdout.equals(held_out)
    assert planted["input"].to_list() == [transforms.apply(task.transforms, text) for text in planted["message"]]
    assert planted["customer"].n_unique() == 5
    assert not set(planted["id"]) & set(pl.read_parquet(features.EXAMPLES)["id"])


def test_a_task_of_closed_answers_has_no_place_for_a_secret(project):
    with pytest.raises(Error, match=r"features\.canaries is 5, and an answer has no field of free text"):
        features.run(starter.settings(project, features__canaries=5))
