"""Untrusted text is one visible line, whatever is in it."""

from trunkline import words


def test_plain_text_is_one_line_without_hidden_characters():
    assert words.plain("a\n\tb \x1b[2Jc\u202ed") == "a b \ufffd[2Jc\ufffdd"
    assert words.cut("a long line", 7) == "a long…"


def test_markdown_is_taken_literally():
    assert words.markdown("[x](y) <b>") == "&#91;x&#93;(y) &#60;b&#62;"
