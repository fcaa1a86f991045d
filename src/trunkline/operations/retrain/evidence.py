"""What the pull request and the issue say: what drifted, what is new, what it will cost, and why a human is asked."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from trunkline import collected, excerpt, retraining, words
from trunkline.operations.retrain.tree import Gathered, Tree
from trunkline.records.monitoring import Monitoring
from trunkline.retraining import Cost
from trunkline.verdict import Check

# GitHub takes 65,536 characters.
_MOST = 65_000
_MOST_VALUES = 20


class Evidence(NamedTuple):
    """All that a pull request is opened by.

    Attributes:
        name: of the partition.
        base: the branch that it is for.
        why: the event, such as ``by the schedule``.
        monitoring: what the monitor found; None: it was not asked.
        checks: of the data.
        cost: expected; None: not known.
        pinned: the path of the pin if it changes.
        silent: the account whose pull requests start no workflow; None: this one's do.
    """

    name: str
    base: str
    why: str
    monitoring: Monitoring | None
    checks: Sequence[Check]
    cost: Cost | None
    pinned: str | None
    silent: str | None


def body(evidence: Evidence, tree: Tree, gathered: Gathered, reasons: Sequence[str], figure: str | None) -> str:
    """The pull request's text.

    Args:
        reasons: why a human has to look; none where GitHub merges it.
        figure: the address of the image of what drifted; None: there is none.
    """
    new, came = gathered.new, gathered.incoming
    found = evidence.monitoring
    text = words.template("retrain.md.j2").render(
        reasons=reasons,
        silent=evidence.silent,
        base=evidence.base,
        # Its parts are quoted.
        figure=None if figure is None else Markup(figure),  # noqa: S704
        why=evidence.why,
        alarms=_alarms(found),
        monitored=found is not None,
        window=found,
        rows=new.rows.height,
        partition=f"{evidence.name}.jsonl",
        before=tree.known.height,
        partitions=tree.known["partition"].n_unique(),
        repeats=new.repeats,
        contradictions=new.contradictions,
        unreadable=came.unreadable,
        sources=sources(gathered),
        left_out=[f"{count} {why}" for why, count in came.left_out.items()],
        mix=_mix(tree, gathered),
        checks=[_check(check) for check in evidence.checks],
        cost=_told(evidence.cost),
        pinned=evidence.pinned,
    )
    shown = excerpt.fit(text.strip(), _MOST, "\n\nThe rest is longer than GitHub allows here.")
    return f"{shown}\n\n{_mark(gathered.text)}"


def tells(text: str, partition: str) -> bool:
    """Whether a pull request's text is about this partition: a run may end between its push and the text."""
    return _mark(partition) in text


def held(text: str, base: str, why: str) -> str:
    """A pull request's text that does not promise any more that GitHub merges it.

    Args:
        base: the branch that it is for.
        why: GitHub does not.
    """
    return text.replace(_merge(base, []), _merge(base, [why]), 1)


def _merge(base: str, reasons: Sequence[str]) -> str:
    return words.template("retrain_merge.md.j2").render(base=base, reasons=reasons).strip()


def _mark(partition: str) -> str:
    return f"<!-- trunkline retrain {hashlib.sha256(partition.encode()).hexdigest()} -->"


def refusal(gathered: Gathered, failures: Sequence[str]) -> str:
    """The text of the issue that asks a human about data that are not fit."""
    text = words.template("retrain_refused.md.j2").render(
        rows=gathered.new.rows.height, failures=failures, sources=sources(gathered)
    )
    return excerpt.fit(text.strip(), _MOST, "\n\nThe rest is longer than GitHub allows here.")


def sources(gathered: Gathered) -> list[tuple[str, int]]:
    """Where the new rows are from, and how many each gave."""
    counts = gathered.new.rows["partition"].value_counts().sort("partition")
    return [(str(name).removesuffix(".jsonl"), int(count)) for name, count in counts.iter_rows()]


class _Row(NamedTuple):
    key: str
    sentence: str
    value: str
    reference: str
    effect: str
    direction: str
    n: str
    since: str


def _alarms(found: Monitoring | None) -> list[_Row]:
    return [
        _Row(
            one.key,
            one.sentence,
            words.number(one.value),
            words.number(one.reference),
            words.number(one.effect),
            one.direction,
            f"{one.n:,}",
            one.since or "-",
        )
        for one in retraining.alarms(found)
    ]


def _check(check: Check) -> Mapping[str, str]:
    limit = "-" if check.limit is None else f"{check.limit:g}"
    value = "not measured" if check.value is None else f"{check.value:.3g}"
    return {
        "name": check.name,
        "verdict": check.verdict,
        "value": value,
        "limit": limit,
        "message": check.message,
    }


def _mix(tree: Tree, gathered: Gathered) -> list[tuple[str, list[Markup]]]:
    before = collected.mix(tree.known, tree.layout)
    after = collected.mix(gathered.new.rows, tree.layout)
    return [(field, _bars(before[field], after[field])) for field in before]


def _bars(before: dict[str, int], after: dict[str, int]) -> list[Markup]:
    """Two bars a value, the most frequent first."""
    totals = [max(1, sum(side.values())) for side in (before, after)]
    values = sorted({*before, *after}, key=lambda value: (-before.get(value, 0) - after.get(value, 0), value))
    shares = {}
    for value in values[:_MOST_VALUES]:
        shares[f"{value} before"] = before.get(value, 0) / totals[0]
        shares[f"{value} new"] = after.get(value, 0) / totals[1]
    return words.bars(shares)


def _told(cost: Cost | None) -> str:
    if cost is None:
        return "Not known: no run has left its report (reports/train.json)."
    return (
        f"{cost.hours:.3g} GPU hours, {cost.usd:.3g} US dollars: the last training took {cost.last:.3g} GPU hours, and"
        f" there are {cost.ratio:.2f} examples now for each one then."
    )
