"""Which issues have to be opened, changed and closed, so that each subject has one that is true.

An issue is found by a hidden marker in its first line. Whose issues are looked at is the caller's to say: a marker
is no secret.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from trunkline.records.notice import Change, Known, Notice

# The episode of occurrences of which nobody knows when they began.
NAMELESS = "now"


def changes(wanted: Iterable[Notice], known: Sequence[Known]) -> list[Change]:
    """What is to be done; nothing where everything is as it should be.

    Of several open issues of one subject the oldest stays: whoever counts, closes the same ones.
    """
    made = []
    for notice in wanted:
        prefix = _prefix(notice.key)
        found = sorted(issue for issue in known if issue.body.startswith(prefix))
        there = [issue for issue in found if issue.open]
        made += [_retire(double, there[0]) for double in there[1:]]
        made += _change(notice, next(iter(there), None), [issue for issue in found if not issue.open])
    return made


def _change(notice: Notice, there: Known | None, closed: Sequence[Known]) -> list[Change]:
    head = f"{_prefix(notice.key)}{_named(notice.episode)} -->"
    body = f"{head}\n{notice.body}"
    if notice.state == "unknown":
        return []
    if notice.state == "cleared" and there is None:
        # The next occurrence may have the same name, where nobody knows when it began.
        over = not closed or not closed[-1].body.startswith(f"{_prefix(notice.key)}{NAMELESS} -->")
        return [] if over else [Change("updated", closed[-1].number, False, notice.title, body)]
    if there is not None and notice.state == "cleared":
        return [Change("closed", there.number, False, notice.title, body)]
    if there is not None:
        same = there.title == notice.title and there.body.split() == body.split()
        return [] if same else [Change("updated", there.number, True, notice.title, body)]
    if not closed:
        return [Change("opened", None, True, notice.title, body)]
    # Somebody who closes an issue has seen it: the same occurrence does not open it again.
    if closed[-1].body.startswith(head):
        return []
    return [Change("reopened", closed[-1].number, True, notice.title, body)]


def _retire(double: Known, first: Known) -> Change:
    """Without its marker nobody finds it again."""
    return Change("closed", double.number, False, double.title, f"This is told in #{first.number}.")


def _prefix(key: str) -> str:
    return f"<!-- trunkline:{_named(key)} "


def _named(text: str) -> str:
    """Text that ends no comment and holds no space, whatever it was."""
    return quote(text, safe="/:@").replace("-", "%2D")
