"""What becomes of a rollout: laws that hold whoever decides and however often."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rollout_logs
from trunkline.errors import Error
from trunkline.records.rollout import Rollout
from trunkline.rollout import Decision, started, state
from trunkline.rollout.decision import VERDICTS

NOW, LATER = "2026-11-01T12:00:00+00:00", "2026-11-01T13:00:00+00:00"
RUNNING = rollout_logs.rollout("m", "v1.0.0", "v1.1.0", 0.05)
SHADOWED = RUNNING.model_copy(
    update={
        "weight": 0.0,
        "plan": rollout_logs.plan_of(
            rollout_logs.settings(), shadow={"share": 0.5, "minutes": 3, "pairs": 40, "margin": 0.1, "at_once": 4}
        ),
    }
)
WEIGHTS = [step.weight for step in RUNNING.plan.steps]


@dataclass
class Said:
    action: str
    because: str
    to: float | None = None
    human: bool = False


SAID = st.one_of(
    st.builds(Said, st.just("advance"), st.just("enough"), st.sampled_from(WEIGHTS)),
    st.just(Said("promote", "enough", 1.0)),
    st.sampled_from([Said("rollback", "worse", 0.0), Said("stop", "hard stop", 0.0)]),
    st.builds(Said, st.just("hold"), st.sampled_from(["evidence", "minutes", "no request", "shared failure"])),
    st.builds(Said, st.just("hold"), st.sampled_from(state.QUESTIONS), st.none(), st.just(True)),
    st.sampled_from(state.BY_HUMAN),
)


def decision(said: Said) -> Decision:
    return Decision(
        time=NOW,
        minutes=1.0,
        weight=0.05,
        action=said.action,
        to=said.to,
        because=said.because,
        reason="for a test",
        human=said.human,
        culprits=(),
        verdict=VERDICTS[said.action],
        units=(1, 1),
        worse_than=None,
        e_ratio=1.0,
        limits={},
        signals=(),
    )


def become(rollout: Rollout, said: Said | str) -> Rollout | None:
    if isinstance(said, Said):
        return state.after(rollout, decision(said), LATER)
    try:
        return state.by_human(rollout, said, "because", "bob", LATER)
    except Error as error:
        assert error.hint
        return None


@given(st.sampled_from([RUNNING, SHADOWED]), st.lists(SAID, max_size=12))
def test_whatever_is_decided_the_ramp_only_goes_up_until_it_is_over_and_then_nothing_changes(rollout, story):
    for said in story:
        changed = become(rollout, said)
        if rollout.over:
            assert changed is None
        if changed is None:
            continue
        if changed.state == "rolled_back":
            assert changed.weight == 0
        else:
            assert changed.weight >= rollout.weight
        assert (changed.state == "promoted") == (changed.weight == 1)
        if rollout.state == "held" and isinstance(said, Said):
            assert changed.state == "rolled_back", "the statistics alone never let go on what a human has to decide"
        assert (changed.by, changed.since) == ("trunkline" if isinstance(said, Said) else "bob", LATER)
        fixed = {"name", "model", "environment", "stable", "canary", "plan", "started", "assigned"}
        assert changed.model_dump(include=fixed) == rollout.model_dump(include=fixed)
        assert Rollout.parse(changed.yaml().encode(), "here") == changed
        rollout = changed


@given(SAID.filter(lambda said: isinstance(said, Said)), st.sampled_from(["running", "held"]), st.sampled_from(WEIGHTS))
def test_a_decision_that_was_carried_out_changes_nothing_more(said, at, weight):
    rollout = RUNNING.model_copy(update={"state": at, "weight": weight})
    changed = become(rollout, said)
    assert changed is None or become(changed, said) is None


def test_only_what_was_asked_is_accepted():
    held = become(RUNNING, Said("hold", "sample ratio", None, human=True))
    resumed = become(held, "resume")
    assert resumed.accepted == ("sample ratio",)
    assert become(become(resumed, "hold"), "resume").accepted == ("sample ratio",), "one's own hold is no question"


def test_a_question_about_the_shadow_holds_only_who_is_in_it_and_is_answered_by_a_human():
    asked = Said("hold", "pairs", None, human=True)
    assert become(RUNNING, asked) is None, "another controller has let it go on meanwhile"
    held = become(SHADOWED, asked)
    assert (held.state, held.weight, state.line(held)) == ("held", 0.0, "m v1.1.0 in production: hold as a shadow")
    resumed = become(held, "resume")
    assert (resumed.state, resumed.accepted) == ("running", ("pairs",))
    assert become(resumed, Said("advance", "no harm", WEIGHTS[0])).weight == WEIGHTS[0]


@pytest.mark.parametrize(
    ("serves", "tag", "becomes"),
    [
        ("v1.0.0", "m#production#v1.0.0", None),
        ("v1.1.0", "m#production#2", ("promoted", 1.0)),
        ("v1.2.0", "m#production#2", ("rolled_back", 0.0)),
        ("v1.0.0", "m#production#3", ("rolled_back", 0.0)),
    ],
)
def test_another_assignment_ends_it(serves, tag, becomes):
    changed = state.overtaken(RUNNING, serves, tag, LATER)
    assert (changed and (changed.state, changed.weight)) == becomes
    if changed is not None:
        assert state.overtaken(changed, serves, tag, LATER) is None


def test_what_was_mended_since_is_passed_over_and_what_is_broken_now_is_not():
    fine = RUNNING.yaml().encode()
    assert state.past([fine, b"state: 3", fine], "x") == [RUNNING, RUNNING]
    for broken in (b"state: 3", b"{", b"\xff", b"- 1"):
        with pytest.raises(Error, match="x"):
            state.past([fine, broken], "x")


OTHER = {
    "model": "other",
    "environment": "canary",
    "stable": "v0.9.0",
    "canary": "v1.2.0",
    "plan": RUNNING.plan.model_copy(update={"salt": "another salt", "beta": 0.9}),
    "started": LATER,
    "assigned": "m#production#9",
}


@given(
    st.sampled_from([RUNNING, SHADOWED]),
    st.lists(st.tuples(st.sets(st.sampled_from(sorted(OTHER))), st.floats(0, 1)), max_size=4),
)
def test_whatever_is_written_by_hand_what_the_start_fixed_holds_and_no_unplanned_share(start, edits):
    contents = [b"not yaml: [", RUNNING.model_copy(update={"name": "the one before", "canary": "v0"}).yaml().encode()]
    contents.append(start.yaml().encode())
    now = start
    for fields, weight in edits:
        now = start.model_copy(update={**{name: OTHER[name] for name in fields}, "weight": weight})
        contents.append(now.yaml().encode())
    held = started.held(now, contents[::-1])
    assert all(getattr(held.rollout, name) == getattr(start, name) for name in started.FIXED)
    assert held.rollout.weight in {0, *WEIGHTS}
    assert held.rollout.weight <= now.weight
    assert set(held.ignored) - {"weight"} == (edits[-1][0] if edits else set())
    assert ("weight" in held.ignored) == (held.rollout.weight != now.weight)
    assert state.past(contents, "x")[-1] == held.rollout


def test_only_what_was_rolled_back_is_rejected_the_newest_counts():
    back = RUNNING.model_copy(update={"state": "rolled_back"})
    older = back.model_copy(update={"canary": "v1.0.9"})
    assert str(state.rejected([back, older, RUNNING])) == "v1.1.0"
    assert state.rejected([RUNNING]) is None
