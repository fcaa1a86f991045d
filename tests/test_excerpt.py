"""A cut report still renders: nothing is left open and no table loses its head."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from trunkline import excerpt

NOTICE = "\n\n(cut)"
TABLE = "| a | b |\n|:--|--:|\n" + "| 1 | 2 |\n" * 20
FENCE = "```sh\n" + "echo | hello\n" * 20 + "```\n"
DETAILS = "<details>\n<summary>more</summary>\n\n" + "a line of text\n\n" * 20 + "</details>\n"
REPORT = f"## title: pass\n\nwords\n\n{TABLE}\nwords\n\n{FENCE}\nwords\n\n{DETAILS}\nlast words\n"
blocks = st.sampled_from([TABLE, FENCE, DETAILS, "words\n", "~~~\n<details>\n```\n~~~\n", "````\n```\n````\n"])


def test_what_fits_stays_as_it_is():
    assert excerpt.fit(REPORT, len(REPORT), NOTICE) == REPORT


def test_what_does_not_fit_is_its_first_lines_and_the_notice():
    assert excerpt.fit("one\ntwo\nthree\nfour\n", 16, NOTICE) == "one\ntwo" + NOTICE


@pytest.mark.parametrize("limit", range(60, len(REPORT), 7))
def test_every_cut_is_short_enough_and_closes_what_it_opens(limit):
    whole(excerpt.fit(REPORT, limit, NOTICE), limit)


@given(parts=st.lists(blocks, min_size=1, max_size=6), share=st.floats(0.1, 0.99))
def test_so_it_is_for_any_order_of_blocks(parts, share):
    text = "## title\n\n" + "\n".join(parts)
    limit = int(share * len(text))
    assume(limit > 40)
    whole(excerpt.fit(text, limit, NOTICE), limit)


def whole(cut: str, limit: int) -> None:
    assert len(cut) <= limit
    assert cut.endswith("(cut)")
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(cut)
    last = [token for token in tokens if token.type == "inline"][-1]
    assert last.content.endswith("(cut)"), "the notice is text, not code"
    html = "".join(token.content for token in tokens if token.type == "html_block")
    assert len(re.findall("<details>", html)) == len(re.findall("</details>", html))
    assert not re.search(r"^\| a \| b \|$", "".join(token.content for token in tokens if token.type == "inline"))


def test_a_table_is_cut_between_its_rows():
    cut = excerpt.fit("words\n\n" + TABLE, 100, NOTICE)
    assert cut.startswith("words\n\n| a | b |\n|:--|--:|\n| 1 | 2 |\n")
    assert cut.removesuffix(NOTICE).endswith("| 1 | 2 |")


def test_a_table_is_left_out_where_only_its_head_fits():
    assert excerpt.fit("words\n\n" + TABLE, 30, NOTICE) == "words" + NOTICE


def test_a_fence_that_does_not_fit_is_left_out():
    assert excerpt.fit(f"words\n\n{FENCE}\nlast words", 60, NOTICE) == "words" + NOTICE


def test_details_that_do_not_fit_are_left_out():
    assert excerpt.fit(f"words\n\n{DETAILS}\nlast words", 120, NOTICE) == "words" + NOTICE


@pytest.mark.parametrize(("block", "closing"), [(FENCE, "\n```"), (DETAILS, "\n\n</details>")])
def test_where_everything_is_inside_of_one_it_is_closed(block, closing):
    cut = excerpt.fit(block, 120, NOTICE)
    assert cut.removesuffix(NOTICE).endswith(closing)
    assert len(cut) > 90


@pytest.mark.parametrize("line", ["```", "````not an end", "~~~~", "<details>"])
def test_what_only_looks_like_markup_in_code_is_text(line):
    text = f"words\n\n````\n{line}\n" + "code\n" * 5 + "````\nwords\n" + "more words\n" * 20
    assert excerpt.fit(text, 40, NOTICE) == "words" + NOTICE
    assert excerpt.fit(text, 100, NOTICE).startswith(text.partition("more words")[0] + "more words\n")


def test_one_endless_line_is_cut_where_it_must_be():
    assert excerpt.fit("x" * 200, 50, NOTICE) == "x" * 43 + NOTICE
