"""Untrusted text stays text: what any of it renders to is itself."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from trunkline import words


@given(st.text(max_size=60))
def test_markdown_shows_text_as_it_is_and_makes_nothing_of_it(text):
    rendered = MarkdownIt("gfm-like", {"linkify": False}).renderInline(f"said {words.markdown(text)} end")
    assert not re.search(r"<(?!br)", rendered)
    shown = html.unescape(rendered).replace("\u200b", "")
    assert shown == f"said {words.plain(text)} end".replace("\u200b", "") or not words.plain(text)


def test_numbers_and_shares_read_as_a_reader_expects():
    assert [words.number(value) for value in (None, 0.01234, 12345.6)] == ["-", "0.0123", "12,346"]
    assert [words.share(value) for value in (None, 0.925)] == ["-", "92.5 %"]
    assert words.change(0.1, 0.05, 0.15, unit="points") == "+10.0 points (+5.0 to +15.0)"
    assert words.change(None, None, None, unit="points") == "-"


def test_plain_text_is_one_line_without_hidden_characters():
    assert words.plain("a\n\tb \x1b[2Jc\u202ed") == "a b \ufffd[2Jc\ufffdd"
    assert words.cut("a long line", 7) == "a long…"


def test_markdown_is_taken_literally():
    assert words.markdown("[x](y) <b>") == "&#91;x&#93;(y) &#60;b&#62;"


def test_what_a_commit_quotes_tells_nobody_on_github_and_closes_nothing():
    said = words.unlinked("as @team said,\nfixes #12 and a@b.example\x1b[2J")
    assert said == "as @\u200bteam said, fixes #\u200b12 and a@\u200bb.example\ufffd[2J"
