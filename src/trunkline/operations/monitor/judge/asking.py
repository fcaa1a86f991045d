"""Asks the judge what it has not been asked yet, and keeps the verdicts in the prediction log as they come."""

import logging
from collections.abc import Container, Mapping
from datetime import UTC, datetime
from typing import NamedTuple, Self

import polars as pl
from pydantic import ValidationError

from trunkline.clients import judge as judges
from trunkline.clients import predictions
from trunkline.clients.judge import Purse
from trunkline.clients.predictions import Database
from trunkline.errors import Error
from trunkline.judge import prompt
from trunkline.params.judge import JudgeParams
from trunkline.records.judgement import JUDGES, Judge
from trunkline.records.prediction import Feedback
from trunkline.records.serving import Completion

Messages = tuple[dict[str, str], ...]
logger = logging.getLogger("trunkline")


class Known(NamedTuple):
    """What the log holds of judges.

    Attributes:
        verdicts: by the judge's id and by prediction: 1 right, 0 wrong, None not readable; the first one counts.
        judges: by id, those that judged last before the others.
    """

    verdicts: dict[str, dict[str, float | None]]
    judges: dict[str, Judge]

    @classmethod
    def of(cls, said: pl.DataFrame) -> Self:
        """Read it from the log's feedback."""
        found = cls({}, {})
        rows = said.filter(pl.col("source").str.starts_with(JUDGES)).sort("time", "prediction", descending=True)
        for source, id, score, comment in rows.select("source", "prediction", "score", "comment").iter_rows():
            judge = source.removeprefix(JUDGES)
            # Where a customer was erased there is no comment any more.
            described = _described(comment)
            if described is not None and described.id == judge:
                found.judges.setdefault(judge, described)
            found.verdicts.setdefault(judge, {})[id] = score if score in (0, 1) else None
        return found


def _described(comment: str | None) -> Judge | None:
    try:
        return None if comment is None else Judge.model_validate_json(comment)
    except ValidationError:
        return None


class Asking:
    """One run's questions.

    Args:
        database: the log.
        settings: whom to ask, and what may be spent.
        prompt_id: hash of the template and its variables.
        known: what the log holds; verdicts are added as they come.
    """

    def __init__(self, database: Database, settings: JudgeParams, prompt_id: str, known: Known) -> None:
        self.known = known
        self._database, self._settings, self._prompt_id = database, settings, prompt_id
        self._purse, self._came = Purse(settings), 0
        # As many as are on their way may be lost by a kill; one transaction a verdict would take longer than the judge.
        self._waiting: list[Feedback] = []
        self._answered: Judge | None = None
        # Questions that it does not take as such: too long, or against its rules.
        self._refused: set[str] = set()

    def verdicts(self, judge: Judge) -> dict[str, float | None]:
        """This judge's, by prediction: 1 right, 0 wrong, None not readable or refused."""
        return {**dict.fromkeys(self._refused), **self.known.verdicts.get(judge.id, {})}

    def run(self, wanted: Mapping[str, Messages]) -> tuple[Judge | None, str | None]:
        """Have these predictions judged by one and the same judge.

        Args:
            wanted: questions by prediction, the most important first.

        Returns:
            Who answers now, or answered last, and why not all were asked: None where they were. Nobody is asked where
            the judge that may decide, or the last one, has judged them all.
        """
        ours = [id for id, one in self.known.judges.items() if self._asks(one)]
        for id in sorted(ours, key=lambda id: id != self._settings.decides):
            if wanted.keys() <= self.known.verdicts[id].keys():
                return self.known.judges[id], None
        last = self.known.judges[ours[0]] if ours else None
        why = self._meet(wanted, {} if last is None else self.known.verdicts[last.id])
        judge = self._answered
        if judge is not None and why is None:
            done = self.verdicts(judge).keys()
            why = self._ask({id: question for id, question in wanted.items() if id not in done})
        if self._came:
            logger.info("monitor  the judge gave %d verdicts for %.4f US dollars", self._came, self._purse.spent)
        return judge or last, why

    def _asks(self, judge: Judge) -> bool:
        return judge.model == self._settings.model and judge.prompt == self._prompt_id

    def _meet(self, wanted: Mapping[str, Messages], done: Container[str]) -> str | None:
        """Ask until there is an answer, which says who it is; why there is none."""
        left = [id for id in wanted if id not in done]
        for id in left:
            why = self._ask({id: wanted[id]})
            if why is not None or self._answered is not None:
                return why
        return "it refuses every question" if left else None

    def _ask(self, wanted: Mapping[str, Messages]) -> str | None:
        ids = list(wanted)

        def take(place: int, answer: Completion | None) -> None:
            if answer is None:
                self._refused.add(ids[place])
            else:
                self._keep(ids[place], answer)

        if not ids:
            return None
        try:
            return judges.ask(self._settings, list(wanted.values()), self._purse, take)
        except predictions.Unreachable:
            raise
        except Error as error:
            return error.problem
        finally:
            self._flush()

    def _keep(self, id: str, answer: Completion) -> None:
        judge = prompt.identified(self._settings.model, self._prompt_id, answer)
        feedback = Feedback(
            id=predictions.new_id(),
            prediction=id,
            time=datetime.now(UTC),
            source=judge.source,
            label=None,
            score=prompt.verdict(answer),
            comment=judge.model_dump_json(),
        )
        self._answered, self._came = judge, self._came + 1
        self.known.judges.setdefault(judge.id, judge)
        self.known.verdicts.setdefault(judge.id, {}).setdefault(id, feedback.score)
        self._waiting.append(feedback)
        if len(self._waiting) >= self._settings.concurrent:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._database.add(self._waiting)
            self._waiting.clear()
