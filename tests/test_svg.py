"""Inline SVG: whatever is drawn, nothing in it becomes markup."""

import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from trunkline import svg

# What XML can hold at all.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))


@given(TEXT)
def test_text_and_titles_are_text(content):
    drawn = svg.drawing(100, 50, content, [svg.text(1, 2, content, "label"), svg.shape("line", content, x1=0)])
    root = ElementTree.fromstring(drawn)  # noqa: S314 - our own text
    label, line = root
    assert root.get("aria-label") == content
    assert (label.text or "") == content
    assert (line.tag, line.get("class"), list(line)) == ("line", content, [])


def test_an_underscore_in_an_attributes_name_is_a_hyphen():
    assert svg.shape("rect", "cell", fill_opacity=0.5) == '<rect class="cell" fill-opacity="0.5"/>'


@given(TEXT)
def test_a_file_of_its_own_brings_its_style_and_nothing_in_it_becomes_markup(content):
    drawn = svg.document(10, 20, content, ".bar { fill: red }", [svg.text(1, 2, content, "axis")])
    style, text = root = ElementTree.fromstring(drawn)  # noqa: S314 - our own text
    assert (root.tag, style.text) == ("{http://www.w3.org/2000/svg}svg", ".bar { fill: red }")
    assert (root.get("aria-label"), root.get("viewBox"), text.text or "") == (content, "0 0 10 20", content)
