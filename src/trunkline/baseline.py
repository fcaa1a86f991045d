"""What a bag of words reaches on the same split: the number an LLM must beat to be worth its cost."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scipy.sparse import csr_matrix, hstack

from trunkline.records import Answer
from trunkline.scoring import classes, parse


def predict(inputs: Sequence[str], answers: Sequence[str], held_out: Sequence[str], answer: Answer) -> list[str] | None:
    """Answer ``held_out`` with TF-IDF of words and characters and logistic regression, field by field.

    TF-IDF weighs words by how rare they are (Sparck Jones, J. Documentation 28, 1972). A field that takes any
    text has no classes to choose from: it gets the value that is most frequent in training.

    Args:
        inputs: the training inputs.
        answers: their answers.
        held_out: the inputs to answer.
        answer: the answers' format.

    Returns:
        One answer each, in the format of the training answers; None where no field has classes.
    """
    if not answer.allowed:
        return None
    known = [{**_open(text, answer), **classes(text, answer)} for text in answers]
    rows = [number for number, found in enumerate(known) if set(answer.fields) <= set(found)]
    if not rows:
        return None
    train, test = _features([inputs[row] for row in rows], held_out)
    columns = []
    for field in answer.fields:
        values = [known[row][field] for row in rows]
        columns.append(_classify(train, values, test) if field in answer.allowed else _most_frequent(values, held_out))
    if answer.format == "label":
        return columns[0]
    return [json.dumps(dict(zip(answer.fields, values, strict=True))) for values in zip(*columns, strict=True)]


def _open(text: str, answer: Answer) -> dict[str, Any]:
    """The values of the fields that take any text."""
    found = parse(text) or {}
    return {field: found[field] for field in answer.fields if field in found and field not in answer.allowed}


def _most_frequent(values: list[Any], held_out: Sequence[str]) -> list[Any]:
    # By what is written, as True and 1 are equal in Python but not in JSON.
    written = Counter(json.dumps(value) for value in values)
    return [json.loads(written.most_common(1)[0][0])] * len(held_out)


def _features(inputs: Sequence[str], held_out: Sequence[str]) -> tuple[csr_matrix, csr_matrix]:
    # Only here and below: it takes a second to import, which answers without classes need not pay.
    from sklearn.feature_extraction.text import TfidfVectorizer

    parts = (
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
    )
    train, test = [], []
    for part in parts:
        try:
            train.append(part.fit_transform(inputs))
        except ValueError:  # nothing in these inputs has such features, as with emoji only
            continue
        test.append(part.transform(held_out))
    if not train:
        return csr_matrix((len(inputs), 1)), csr_matrix((len(held_out), 1))
    return hstack(train, format="csr"), hstack(test, format="csr")


def _classify(train: csr_matrix, labels: list[str], test: csr_matrix) -> list[str]:
    if len(set(labels)) == 1:
        return [labels[0]] * test.shape[0]
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0, max_iter=500)
    return [str(label) for label in model.fit(train, labels).predict(test)]
