"""Which issues are opened, changed and closed: one true issue a subject, whatever was there before."""

from hypothesis import given
from hypothesis import strategies as st

from trunkline import notices
from trunkline.records.notice import Change, Known, Notice

ALARM = Notice("alert:triage:production:drift/words", "open", "2026-11-01", "words drift", "by 0.4")


def made(*known: Known, notice: Notice = ALARM) -> list[Change]:
    return notices.changes([notice], known)


def after(known: list[Known], changes: list[Change]) -> list[Known]:
    """The issues as they are once the changes are made."""
    rows = {issue.number: issue for issue in known}
    for change in changes:
        number = change.number or max(rows, default=0) + 1
        rows[number] = Known(number, change.open, change.title, change.body)
    return list(rows.values())


def test_an_alarm_without_an_issue_opens_one_whose_marker_nobody_sees():
    (change,) = made()
    assert (change.done, change.number, change.open, change.title) == ("opened", None, True, "words drift")
    first, rest = change.body.split("\n", 1)
    assert first.startswith("<!-- trunkline:alert:triage:production:drift/words ")
    assert first.endswith(" -->")
    assert rest == "by 0.4"


def test_the_same_alarm_again_changes_nothing_and_new_evidence_is_written():
    known = after([], made())
    assert made(*known) == []
    (change,) = made(*known, notice=ALARM._replace(body="by 0.5"))
    assert (change.done, change.number) == ("updated", 1)


def test_an_alarm_that_clears_closes_its_issue_and_one_that_never_was_opens_none():
    known = after([], made())
    (change,) = made(*known, notice=ALARM._replace(state="cleared"))
    assert (change.done, change.number, change.open) == ("closed", 1, False)
    assert made(notice=ALARM._replace(state="cleared")) == []


def test_what_was_not_measured_is_left_alone():
    known = after([], made())
    assert made(*known, notice=ALARM._replace(state="unknown", body="nothing was measured")) == []
    assert made(notice=ALARM._replace(state="unknown")) == []


def test_the_end_of_an_occurrence_without_a_name_is_written_down_so_that_the_next_one_is_another():
    nameless = ALARM._replace(episode=notices.NAMELESS)
    closed = [issue._replace(open=False) for issue in after([], made(notice=nameless))]
    assert made(*closed, notice=nameless) == []
    cleared = nameless._replace(state="cleared", episode="pass")
    (change,) = made(*closed, notice=cleared)
    assert (change.done, change.number, change.open) == ("updated", 1, False)
    over = after(closed, [change])
    assert made(*over, notice=cleared) == []
    (change,) = made(*over, notice=nameless)
    assert (change.done, change.number, change.open) == ("reopened", 1, True)


def test_an_issue_that_somebody_closed_stays_closed_until_the_next_alarm():
    (issue,) = after([], made())
    closed = issue._replace(open=False)
    assert made(closed) == []
    (change,) = made(closed, notice=ALARM._replace(episode="2026-12-01"))
    assert (change.done, change.number, change.open) == ("reopened", 1, True)


def test_of_two_open_issues_the_older_stays_and_the_other_leads_to_it():
    (issue,) = after([], made())
    double = issue._replace(number=7)
    (change,) = made(double, issue)
    assert (change.done, change.number, change.open) == ("closed", 7, False)
    assert "#1" in change.body
    assert made(*after([issue, double], [change])) == [], "and is not found again"


def test_another_subject_whose_name_only_begins_alike_is_another():
    (issue,) = after([], made())
    assert [change.done for change in made(issue, notice=ALARM._replace(key=f"{ALARM.key}_rare"))] == ["opened"]


KEYS = st.text(min_size=1, max_size=12)
NOTICES = st.builds(
    Notice, KEYS, st.sampled_from(["open", "cleared", "unknown"]), st.sampled_from(["a", "b-->c"]), KEYS, st.text()
)


@given(st.lists(NOTICES, max_size=6, unique_by=lambda notice: notice.key), st.lists(NOTICES, max_size=6))
def test_whatever_happened_before_a_second_run_has_nothing_left_to_do(wanted, earlier):
    known: list[Known] = []
    for notice in earlier:
        known = after(known, notices.changes([notice], known))
    known = after(known, notices.changes(wanted, known))
    assert notices.changes(wanted, known) == []
    for notice in wanted:
        mine = [issue for issue in known if issue.open and issue.body.startswith(notices._prefix(notice.key))]
        assert len(mine) <= 1
        assert "-->" not in notices._prefix(notice.key)
        if notice.state == "cleared":
            assert mine == []
