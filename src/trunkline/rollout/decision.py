"""What the analysis says at a look, as a record that can be committed with the step it leads to."""

from typing import Literal

from trunkline.records import Record
from trunkline.verdict import FiniteFloat, Verdict

Action = Literal["hold", "advance", "promote", "rollback", "stop"]
Because = Literal[
    "no request",
    "minutes",
    "evidence",
    "enough",
    "sample ratio",
    "silent",
    "horizon",
    "worse",
    "hard stop",
    "shared failure",
    "pairs",  # a shadow has measured fewer than wanted
    "no harm",  # a shadow's time is over
]
VERDICTS: dict[Action, Verdict] = {
    "hold": Verdict.INCONCLUSIVE,
    "advance": Verdict.INCONCLUSIVE,
    "promote": Verdict.PASS,
    "rollback": Verdict.FAIL,
    "stop": Verdict.FAIL,
}


class Effect(Record):
    """What the canary does to a signal, in an A/B test, with an interval that holds at every look.

    Attributes:
        of: ``ratio``: how many times as often a unit has the event; ``difference``: how much higher its score is.
        estimate: None where it cannot be told yet.
        low: what is below is ruled out.
        high: what is above is ruled out; None while no ratio is.
        shows: what the interval says of the canary.
    """

    of: Literal["ratio", "difference"]
    estimate: FiniteFloat | None
    low: FiniteFloat
    high: FiniteFloat | None
    shows: Literal["better", "worse", "no difference shown"]

    def __str__(self) -> str:
        """In words, such as ``0.97 times as often [0.81, 1.2]``."""
        high = "unbounded" if self.high is None else f"{self.high:.3g}"
        estimate = "unknown" if self.estimate is None else f"{self.estimate:.3g}"
        if self.of == "ratio":
            return f"{estimate} times as often [{self.low:.3g}, {high}]"
        estimate = estimate if self.estimate is None else f"{self.estimate:+.3g}"
        return f"{estimate} [{self.low:+.3g}, {self.high:+.3g}]"


class SignalState(Record):
    """Where a signal stands.

    Attributes:
        signal: its name.
        canary: events (of a score: scores) of canary units; a unit counts once.
        stable: those of stable units.
        e_worse: the e-value that the canary is worse than tolerated.
        e_no_worse: the e-value that it is no worse than the step's margin.
        margin: the step's margin.
        bound: the ratio (of a score, the loss) that is ruled out; None while none is.
        effect: of an A/B test; None in a rollout.
    """

    signal: str
    canary: int
    stable: int
    e_worse: FiniteFloat
    e_no_worse: FiniteFloat
    margin: FiniteFloat
    bound: FiniteFloat | None
    effect: Effect | None = None


class Decision(Record):
    """What is to be done, and by what it was decided.

    Attributes:
        time: of the last row, ISO 8601 in UTC; None before the first.
        minutes: on the rollout's clock.
        weight: the canary's share of the units, the largest seen.
        action: ``hold``, ``advance`` to the weight ``to``, ``promote``, ``rollback``, or ``stop`` at once.
        to: the weight to set; None to leave it.
        because: the reason in a word or two, for programs.
        reason: the reason in a sentence.
        human: whether a human has to decide now.
        silent: whether that is because the canary is heard of too little, which a probe of it may decide.
        culprits: the signals that broke, the worst first.
        verdict: pass once promoted, fail once rolled back, inconclusive until then.
        units: seen on the canary and on stable.
        worse_than: the share of placebo canaries that look better than the canary; None by counts.
        e_ratio: the e-value that the arms' shares are not what was asked for.
        limits: the e-values to reach, by name.
        signals: where each stands.
    """

    time: str | None
    minutes: FiniteFloat
    weight: FiniteFloat
    action: Action
    to: FiniteFloat | None
    because: Because
    reason: str
    human: bool
    silent: bool = False
    culprits: tuple[str, ...]
    verdict: Verdict
    units: tuple[int, int]
    worse_than: FiniteFloat | None
    e_ratio: FiniteFloat
    limits: dict[str, FiniteFloat]
    signals: tuple[SignalState, ...]

    def probed(self, proved: bool | None) -> "Decision":
        """What this becomes by a probe of a canary that is heard of too little.

        Args:
            proved: whether it proves that it serves its release; None where it could not be probed.
        """
        if not self.silent or proved is None:
            return self
        if proved:
            reason = f"{self.reason}; its engine answers the gateway's probes"
            return self.model_copy(update={"reason": reason})
        said = {
            "action": "rollback",
            "to": 0.0,
            "because": "silent",
            "reason": f"{self.reason}; and its engine fails the gateway's probes, while stable's passes them",
            "human": False,
            "silent": False,
            "verdict": VERDICTS["rollback"],
        }
        return self.model_copy(update=said)
