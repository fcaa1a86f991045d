"""What a chain of links is worth."""

import pytest

from trunkline import lineage
from trunkline.lineage import Link
from trunkline.verdict import Verdict


@pytest.mark.parametrize(
    ("found", "verdict"), [("same", Verdict.PASS), (None, Verdict.INCONCLUSIVE), ("other", Verdict.FAIL)]
)
def test_a_link_holds_when_what_is_found_is_what_is_said(found, verdict):
    link = lineage.compared("data", "x", "same", found, "in Git")
    assert link.verdict is verdict
    assert link.note.startswith("in Git")


def test_a_chain_is_worth_its_worst_link():
    links = [Link("data", "x", verdict, "") for verdict in (Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL)]
    assert lineage.sentence(links[:1]) == "pass (all 1 links are verified)"
    assert lineage.sentence(links[:2]) == "inconclusive (1 of 2 links could not be verified here)"
    assert lineage.sentence(links) == "fail (1 of 3 links are broken)"


def test_a_chain_without_links_verified_nothing():
    assert lineage.verdict_of([]) is Verdict.INCONCLUSIVE
