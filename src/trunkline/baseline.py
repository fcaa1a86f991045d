"""What a bag of words reaches on the same split: the number an LLM must beat to be worth its cost."""

import json
from collections.abc import Sequence

from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from trunkline.records import Answer
from trunkline.scoring import classes


def predict(inputs: Sequence[str], answers: Sequence[str], held_out: Sequence[str], answer: Answer) -> list[str] | None:
    """Answer ``held_out`` with TF-IDF of words and characters and logistic regression, field by field.

    TF-IDF weighs words by how rare they are (Sparck Jones, J. Documentation 28, 1972).

    Args:
        inputs: the training inputs.
        answers: their answers.
        held_out: the inputs to answer.
        answer: the answers' format.

    Returns:
        One answer each, in the format of the training answers; None where a field is free text.
    """
    if answer.format == "text" or set(answer.fields) - set(answer.allowed):
        return None
    known = [classes(text, answer) for text in answers]
    rows = [number for number, found in enumerate(known) if set(answer.fields) <= set(found)]
    if not rows:
        return None
    train, test = _features([inputs[row] for row in rows], held_out)
    columns = [_classify(train, [known[row][field] for row in rows], test) for field in answer.fields]
    if answer.format == "label":
        return columns[0]
    return [json.dumps(dict(zip(answer.fields, values, strict=True))) for values in zip(*columns, strict=True)]


def _features(inputs: Sequence[str], held_out: Sequence[str]) -> tuple[csr_matrix, csr_matrix]:
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
    model = LogisticRegression(C=10.0, max_iter=500)
    return [str(label) for label in model.fit(train, labels).predict(test)]
