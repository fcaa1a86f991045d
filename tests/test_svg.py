"""Drawings are valid XML whatever their words are."""

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from trunkline import svg

WORDS = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cn", "Co")), min_size=1)
SVG = "{http://www.w3.org/2000/svg}"


@given(WORDS)
def test_words_are_never_markup(words):
    parts = [svg.text(1, 2, words, "axis"), svg.shape("rect", "bar", width=3, fill_opacity=words)]
    root = ElementTree.fromstring(svg.document((10, 20), words, ".bar { fill: red }", parts))  # noqa: S314
    style, text, rect = root
    assert (root.get("aria-label"), text.text, rect.get("fill-opacity")) == (words, words, words)
    assert (root.tag, style.tag, rect.get("class"), root.get("viewBox")) == (
        f"{SVG}svg",
        f"{SVG}style",
        "bar",
        "0 0 10 20",
    )
    page = ElementTree.fromstring(svg.figure((10, 20.5), words, parts))  # noqa: S314
    assert (page.tag, page.get("viewBox"), len(page)) == ("svg", "0 0 10 20.5", 2)
