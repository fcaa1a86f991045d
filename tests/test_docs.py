"""The documentation: every link leads somewhere, and README stays short enough to be read."""

import re
from pathlib import Path

import pytest

import starter

ROOT = starter.ROOT
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
PAGES = [ROOT / name for name in starter.git(ROOT, "ls-files", "*.md").splitlines() if (ROOT / name).is_file()]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The ids that GitHub gives a page's headings: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page to files that do not exist, or to headings that their page does not have."""
    found = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert not broken(page)


def test_a_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](#one) [b](#two) [c](missing.md) [d](page.md#three) [e](https://example.com/x)\n")
    assert broken(page) == ["#two", "missing.md", "page.md#three"]


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [page.parent / link.partition("#")[0] for link in LINK.findall(prose(page)) if ":" not in link]
    assert not [page for page in (ROOT / "docs").glob("*.md") if page.resolve() not in reached]


def test_the_readme_is_read_in_one_sitting():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 500
