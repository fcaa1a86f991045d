"""The judge that `monitor.judge` names: reads a sample of windows and is held against people.

It reads the same conversations whenever one looks: of the newest window and of the release's first ones by the hash of
their ids, and those that people have judged. What it has read is in the prediction log and is not paid for again; a
verdict is kept as it comes.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import polars as pl

from trunkline import pii, prompts, transforms
from trunkline.clients import files
from trunkline.clients.predictions import Database
from trunkline.clients.predictions.exchanges import Exchange, exchanges
from trunkline.drift.judging import Rule
from trunkline.drift.observed import Seen
from trunkline.drift.watched import Against, Watched
from trunkline.judge import calibration, found, prompt
from trunkline.judge.calibration import Both, Calibration
from trunkline.judge.found import WATCHED, Hearing, Standing, Terms
from trunkline.operations.monitor.judge import people
from trunkline.operations.monitor.judge.asking import Asking, Known
from trunkline.operations.monitor.judge.people import Call
from trunkline.operations.monitor.reading import Ruler
from trunkline.params.judge import JudgeParams
from trunkline.records.monitoring import Signal
from trunkline.records.prediction import Selection

__all__ = ["WATCHED", "Judged", "look"]


class Judged(NamedTuple):
    """What the judge said.

    Attributes:
        seen: the windows; with its verdicts, where it gave any.
        standing: None where no judge is configured.
        calibration: of this judge.
    """

    seen: list[Seen]
    standing: Standing | None
    calibration: Calibration

    @property
    def things(self) -> tuple[Watched, ...]:
        """What is decided on, among all other things."""
        return (WATCHED,) if self.standing is not None and self.standing.state == "decides" else ()

    def told(
        self, others: Sequence[Signal], seen: Sequence[Seen], tables: Mapping[Against, pl.DataFrame], rule: Rule
    ) -> list[Signal]:
        """The signals with the judge's: one that does not decide changes no other.

        Args:
            others: of all that was compared, `things` among it.
            seen: windows that are shown.
            tables: references.
            rule: that decided.
        """
        if self.standing is None:
            return list(others)
        if self.standing.state != "decides":
            return [*others, found.signal(self.standing, self.calibration, seen, tables, rule)]
        return [found.deciding(one, self.standing, self.calibration) if one.key == found.KEY else one for one in others]


def look(database: Database, every: list[Seen], ruler: Ruler, first: int) -> Judged:
    """Let the judge read what it has not read yet.

    Args:
        database: the log.
        every: windows in order, at least one.
        ruler: as they were measured.
        first: windows that later ones are compared with.

    Raises:
        Error: the prompt template is not there or fails, or the log does not take a verdict.
    """
    settings, log = ruler.params.monitor.judge, ruler.params.serve.log
    nobody = Calibration(None, None)
    if settings is None:
        return Judged(every, None, nobody)
    for name, form in (("input", log.input), ("output", log.output)):
        if form != "text":
            why = f"serve.log.{name} is {form}: the log holds no text that a judge could read."
            return Judged(every, Standing("unmeasured", why, 0), nobody)
    return _judged(database, every, ruler, first, settings)


def _judged(database: Database, every: list[Seen], ruler: Ruler, first: int, settings: JudgeParams) -> Judged:
    said = pl.concat([database.feedback(_selected(one, ruler)) for one in every])
    opinions = people.opinions(said, ruler, settings.people)
    samples = [_drawn(one, settings) for one in every]
    texts = exchanges(database, [*opinions.ids, *chain.from_iterable(samples)])
    # What is paid for first is what nothing can be said without.
    start = [ids for one, ids in zip(every, samples, strict=True) if one.window.number < first]
    wanted = dict.fromkeys(id for ids in (samples[-1], *start, opinions.ids) for id in ids if id in texts)
    template = files.read_text(Path(settings.prompt))
    prompt_id = prompts.identify(template, ruler.task.variables)
    asking = Asking(database, settings, prompt_id, Known.of(said))
    judge, why = asking.run({id: _asked(template, texts[id], ruler) for id in wanted})
    verdicts = {} if judge is None else asking.verdicts(judge)
    # Of customers who were erased there are verdicts and no texts.
    samples = [[id for id in ids if id in texts or id in verdicts] for ids in samples]
    agreed = _calibrated(people.calls(opinions, texts, ruler), verdicts, settings)
    read = [verdicts[id] for id in samples[-1] if id in verdicts]
    unreadable = sum(one is None for one in read)
    named = asking.known.judges.get(settings.decides or "")
    heard = Hearing(judge, len(samples[-1]), len(read) - unreadable, unreadable, why, agreed, named)
    seen = [found.with_verdicts(one, ids, verdicts) for one, ids in zip(every, samples, strict=True)]
    terms = Terms(settings.agreement, settings.unreadable, settings.decides)
    return Judged(seen, found.standing(heard, terms), agreed)


def _calibrated(calls: Mapping[str, Call], verdicts: Mapping[str, float | None], settings: JudgeParams) -> Calibration:
    both = [(one, value) for id, one in calls.items() if (value := verdicts.get(id)) is not None]
    rows = (Both(one.unit, one.right, value == 1) for one, value in both)
    return calibration.calibrate(rows, settings.confidence)


def _selected(one: Seen, ruler: Ruler) -> Selection:
    environment = ruler.params.monitor.environment
    return Selection(since=one.window.since, until=one.window.until, release=ruler.release, environment=environment)


def _drawn(one: Seen, settings: JudgeParams) -> list[str]:
    return prompt.drawn(one.conversations.filter(~pl.col("failed"))["prediction"].to_list(), settings.sample)


def _asked(template: str, texts: Exchange, ruler: Ruler) -> tuple[dict[str, str], ...]:
    """The judge reads what the model has read, without personal data."""
    message = pii.mask(transforms.apply(ruler.task.transforms, texts.input))
    return prompt.render(template, ruler.task.variables, message, pii.mask(texts.output))
