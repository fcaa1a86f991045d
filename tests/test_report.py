import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import finished
import starter
from trunkline import words
from trunkline.clients import files, reports
from trunkline.operations import report
from trunkline.operations.report import figures
from trunkline.records import Answer, Production, Report
from trunkline.stages import compare
from trunkline.verdict import Verdict

COUNT = 240
PREDICTIONS = Path("data/predictions")
GOLDEN = Path(__file__).parent / "golden" / "report.md"
EVERYTHING = {
    "gate__guardrails": {"valid_json": 0.01, "tokens_out": 0.25, "latency_ms_p95": 0.5, "usd_per_1000": 0.5},
    "gate__floors": {"valid_json": 0.7, "exact_match": 0.7},
    "evaluate__scorers": ["exact_match", "valid_json", "field_accuracy", "urgent_not_missed", "refusal", "nll"],
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![pixel](https://evil.example/x.png)",
    "a | b | c\n| --- | --- |\n| new | row |",
    "\n\n# heading\n\n- list\n\n```\nfence\n```\n",
    "<!-- hidden --> @maintainer please merge, see #12 and www.evil.example or me@evil.example",
    "</code></td></table></details>--> `code` ``more`` *b* _i_ ~s~ $x$ &lt;b&gt; \\| \\",
    "{{ 7 * 7 }} {% raw %} </style><style>*{display:none}</style>",
    "\u202eevil\u2066 zero\u200bwidth \x1b[31mred\x07",
]


@pytest.fixture
def project(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # What is made up here has no stages; whether a report is one's, `tests/test_gate_operation.py` tries.
    monkeypatch.setattr(reports, "unwritten", lambda steps, folder: [])
    (in_tmp / "src").mkdir()
    (in_tmp / "src/project.py").write_text("")
    (in_tmp / "dvc.yaml").write_text("stages: {}\n")
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True, capture_output=True)
    finished.holdout(in_tmp, COUNT)
    finished.predict(in_tmp, "production", finished.share(COUNT, 0.25, seed=1))
    finished.predict(
        in_tmp, "candidate", finished.share(COUNT, 0.90, seed=2), wrong='{"intent": "transfer_fee", "urgency": "low"}'
    )
    return in_tmp


def run(folder: Path, **changes: object) -> tuple[str, Verdict]:
    for side in ("production", "candidate"):
        finished.bundle(folder, side)
    finished.reports(folder)
    settings = starter.settings(folder, **changes)
    compare.run(settings)
    return report.run(settings)


def say(side: str, *texts: str) -> None:
    """Replace a side's outputs by these texts, in turn."""
    path = PREDICTIONS / f"{side}.parquet"
    table = pl.read_parquet(path)
    outputs = [texts[number % len(texts)] for number in range(table.height)]
    files.write_table(path, table.with_columns(output=pl.Series(outputs)))


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and what its style and script hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        self.inside[self._open] = self.inside.get(self._open, "") + data

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


def test_the_markdown_is_what_it_was(project):
    """Set TRUNKLINE_UPDATE_GOLDEN=1 to accept a change, and read the difference in Git."""
    run(project, **EVERYTHING)
    text = report.MARKDOWN.read_text()
    holdout = files.sha256(Path("data/holdout.parquet"))
    text = text.replace(holdout, "h" * 64)
    if os.environ.get("TRUNKLINE_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_summary_tells_verdict_numbers_and_where_to_look(project):
    text, verdict = run(project)
    lines = text.splitlines()
    assert verdict is Verdict.PASS
    assert lines[0] == "support-triage: pass"
    assert re.search(r"^exact_match +22\.5 % +88\.8 % +\+66\.2 points \(.*\) +2 points +pass$", text, re.MULTILINE)
    assert "baseline TF-IDF with logistic regression reaches 75.0 % on exact_match" in text
    assert "1,000 rows read, 880 kept" in text
    assert "reports/report.html (page), reports/report.md (text)" in lines[-1]
    assert max(map(len, lines)) <= 120


def test_both_files_are_the_same_when_nothing_changed(project):
    run(project)
    first = report.MARKDOWN.read_bytes(), report.PAGE.read_bytes()
    run(project)
    assert (report.MARKDOWN.read_bytes(), report.PAGE.read_bytes()) == first


@pytest.mark.parametrize("missing", ["data", "evaluate", "compare"])
def test_a_missing_report_is_said_and_is_never_a_pass(project, missing):
    run(project)
    Path(f"reports/{missing}.json").unlink()
    text, verdict = report.run(starter.settings(project))
    assert verdict is Verdict.INCONCLUSIVE
    assert f"reports/{missing}.json not found" in " ".join(text.split())
    for path in (report.MARKDOWN, report.PAGE):
        assert f"reports/{missing}.json not found" in path.read_text()


def test_nothing_at_all_still_makes_a_report(in_tmp):
    (in_tmp / "dvc.yaml").write_text("stages: {}\n")
    text, verdict = report.run(starter.settings(in_tmp))
    assert verdict is Verdict.INCONCLUSIVE
    assert "reports/compare.json not found" in " ".join(text.split())
    assert "Unknown: the identity of a model is missing." in report.MARKDOWN.read_text()


@pytest.mark.parametrize("gone", ["data/predictions/candidate.parquet", "models/production", "data/holdout.parquet"])
def test_a_missing_input_leaves_its_part_out(project, gone):
    run(project)
    files.remove(Path(gone))
    text, _ = report.run(starter.settings(project))
    assert "exact_match" in text
    assert ("| message | expected |" in report.MARKDOWN.read_text()) == (gone == "models/production")


def test_reports_with_unexpected_contents_do_not_break_it(project):
    run(project)
    for step in ("data", "train", "evaluate"):
        path = Path(f"reports/{step}.json")
        known = Report.read(path)
        odd = {name: [1, "x", None, {"y": []}] for name in [*known.details, *known.metrics]}
        files.write_text(path, known.model_copy(update={"details": odd, "metrics": odd}).text())
    assert "exact_match" in report.run(starter.settings(project))[0]


@pytest.mark.parametrize("kind", ["label", "text"])
def test_other_answer_formats_are_shown_too(project, kind):
    allowed = {"intent": finished.INTENTS} if kind == "label" else {}
    task = finished.TASK.model_copy(update={"answer": Answer(format=kind, fields=("intent",), allowed=allowed)})
    finished.holdout(project, COUNT, task)
    for side, part in (("production", 0.25), ("candidate", 0.9)):
        finished.predict(project, side, finished.share(COUNT, part, seed=3), wrong="no idea")
    text, verdict = run(project, gate__guardrails={})
    assert verdict is Verdict.PASS
    assert "valid_json" not in text
    assert "<code>no idea</code>" in report.MARKDOWN.read_text()
    assert "no idea" in report.PAGE.read_text()


def test_the_confusion_of_each_field_is_drawn_with_its_counts(project):
    run(project)
    page = report.PAGE.read_text()
    assert "intent: right answers (rows) and the candidate&#39;s (columns)" in page
    assert f">{COUNT // 3}</text>" in page


def test_a_failed_candidate_is_a_failed_report(project):
    finished.predict(project, "candidate", [False] * COUNT)
    text, verdict = run(project)
    assert verdict is Verdict.FAIL
    assert text.startswith("support-triage: fail")
    assert "## support-triage: fail" in report.MARKDOWN.read_text()


def test_a_bag_of_words_that_is_as_good_is_said_plainly(project):
    run(project)
    path = Path("reports/evaluate.json")
    known = Report.read(path)
    best = {"exact_match": {"value": 0.93, "low": 0.9, "high": 0.95, "n": 80}}
    files.write_text(path, known.model_copy(update={"metrics": known.metrics | {"baseline": best}}).text())
    text = " ".join(report.run(starter.settings(project))[0].split())
    assert "a bag of words is as good, and the LLM is not worth its cost" in text


def test_personal_data_in_answers_are_masked(project):
    say("production", "write to jane.doe@example.com")
    run(project)
    for path in (report.MARKDOWN, report.PAGE):
        assert "jane.doe" not in path.read_text()
        assert "EMAIL" in path.read_text()


def test_hostile_text_stays_text(project):
    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    say("production", "harmless")
    run(project, report__examples=40)
    tokens, page = parser.parse(report.MARKDOWN.read_text()), Page(report.PAGE.read_text())
    say("production", *HOSTILE)
    run(project, report__examples=40)
    written = report.MARKDOWN.read_text()

    hostile = parser.parse(written)
    assert [token.type for token in hostile] == [token.type for token in tokens]
    inline = [child for token in hostile for child in token.children or ()]
    assert {child.type for child in inline} <= {
        *("text", "text_special", "softbreak"),
        *("html_inline", "strong_open", "strong_close"),
    }
    assert {child.content for child in inline if child.type == "html_inline"} == {"<code>", "</code>"}
    assert not re.search(r"<!--|https?://|www\.evil|@maintainer|@evil", written)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e\u2066-\u2069]", written)
    for word in ("alert(1)", "pixel", "heading", "hidden", "more", "7 &#42; 7", "red"):
        assert word in written

    same = Page(report.PAGE.read_text())
    assert same.tags() == page.tags()
    for tag, attributes in same.elements:
        assert not {"src", "href", "style", "srcdoc", "action"} & set(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag


def test_the_page_runs_only_its_own_style_and_script_and_fetches_nothing(project):
    run(project)
    text = report.PAGE.read_text()
    page = Page(text)
    policy = next(
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert page.tags().count("script") == page.tags().count("style") == 1
    assert not re.search(r"https?://|@import|url\(", text)
    assert {"svg", "circle", "polyline", "rect"} <= set(page.tags())


def test_the_markdown_fits_a_comment_and_says_what_was_cut(project):
    say("production", "very long words " * 4000)
    run(project, report__examples=200)
    text = report.MARKDOWN.read_text()
    assert 50_000 < len(text) <= report.MOST_CHARACTERS
    assert text.rstrip().endswith("reports/report.html shows everything.")
    assert text.count("```") % 2 == 0


def test_lineage_names_the_commit_and_whether_it_is_all(project):
    starter.git(project, "init", "-q")
    (project / ".gitignore").write_text("*\n!src\n!src/*\n!.gitignore\n")
    starter.git(project, "add", ".")
    starter.git(project, "commit", "-qm", "first")
    commit = starter.git(project, "rev-parse", "HEAD")
    run(project)
    assert f"| git commit | <code>{commit}</code> |" in report.MARKDOWN.read_text()
    assert f"git checkout {commit[:12]} && dvc repro" in report.MARKDOWN.read_text()
    (project / "src/project.py").write_text("# changed")
    run(project)
    assert f"<code>{commit} and changes that are not committed</code>" in report.MARKDOWN.read_text()


@given(text=st.text())
def test_escaped_text_has_no_character_that_markdown_could_take_for_structure(text):
    escaped = str(words.markdown(text))
    assert not re.search(r"[\\`*\[\]|<>~$@\n\r]", escaped)
    assert re.fullmatch(r"<code>[^<>|`\n]*</code>|\(empty\)", str(words.code(text)))


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_a_sparkline_is_one_short_line(values):
    line = words.sparkline(values)
    assert len(line) == min(len(values), 40)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_too_few_points_draw_nothing(values):
    assert figures.curve(values, "loss") == ""


def test_too_many_classes_draw_nothing():
    assert figures.confusion([str(number) for number in range(77)], [[1] * 77] * 77, "intent") == ""


def test_a_run_that_stopped_early_says_how_much_it_saved_and_every_report_its_power(project):
    run(project)
    path = Path("reports/evaluate.json")
    content = json.loads(path.read_text())
    content["details"]["answered"] = {"examples": 60, "holdout": 240}
    path.write_text(json.dumps(content))
    report.run(starter.settings(project))
    for text in (report.MARKDOWN.read_text(), report.PAGE.read_text()):
        assert "settled after 60 of 240 examples: 75 % of the answers saved" in text
        assert re.search(r"with all of them, \d+ of 100 candidates as good as production would pass\.", text)


def test_a_dry_run_is_shown_as_one(project):
    run(project, gate__dry_run=["valid_json"])
    text = report.MARKDOWN.read_text()
    assert "Measured, not deciding yet:" in text
    assert text.index("Measured, not deciding yet:") < text.index("production on valid_json")


def test_every_criterion_that_decides_has_its_line_with_both_sides_interval_margin_and_verdict(project):
    text, _ = run(project, **EVERYTHING)
    rows = [line for line in report.MARKDOWN.read_text().splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[:7]]
    assert [(cell[0], cell[4], cell[5]) for cell in cells] == [
        ("exact_match", "2 points", "pass"),
        ("valid_json", "1 point", "pass"),
        ("tokens_out", "25 % more", "pass"),
        ("latency_ms_p95", "5 % too slow", "inconclusive"),
        ("usd_per_1000", "50 % more", "pass"),
        ("valid_json", "at least 70 %", "pass"),
        ("exact_match", "at least 70 %", "pass"),
    ]
    by_name = {(cell[0], cell[4]): cell[1:4] for cell in cells}
    assert by_name["tokens_out", "25 % more"][:2] == ["14", "14"]
    assert re.fullmatch(r"\+0\.0 % \(-\d+\.\d to \+\d+\.\d\)", by_name["tokens_out", "25 % more"][2])
    assert re.fullmatch(r"0\.0 % \(0\.0 to \d\.\d\) too slow", by_name["latency_ms_p95", "5 % too slow"][2])
    assert by_name["usd_per_1000", "50 % more"][0] == "0.0021"
    assert by_name["valid_json", "at least 70 %"][2].startswith("88.8 % (")
    assert "at least 70 %" in text
    assert max(map(len, text.splitlines())) <= 120


def commit_production(project: Path) -> str:
    """A commit with params, code and reports of a production that this project then pins."""
    starter.git(project, "init", "-q")
    (project / ".gitignore").write_text("*\n!src\n!src/*\n!.gitignore\n!params.yaml\n!reports\n!reports/*.json\n")
    (project / "src/project.py").write_text("# the code of production\n")
    run(project, train__epochs=2)
    for step in ("data", "features"):
        path = Path(f"reports/{step}.json")
        known = Report.read(path)
        halved = {name: value // 2 for name, value in known.metrics.items()}
        files.write_text(path, known.model_copy(update={"metrics": halved}).text())
    starter.git(project, "add", ".")
    starter.git(project, "commit", "-qm", "production")
    commit = starter.git(project, "rev-parse", "HEAD")
    (project / "src/project.py").write_text("# the code of the candidate\n")
    return commit


def pin(project: Path, commit: str) -> None:
    pinned = Production(release="support-triage@v1.0.0", revision=commit, weights=None, partitions=("2026-07",))
    files.write_text(project / "data/production.json", pinned.text())


def compared_with_a_release(project: Path) -> list[str]:
    settings = starter.settings(project, train__epochs=3)
    changes = {"kind": "lora", "release": "support-triage@v1.0.0", "partitions": ("2026-07",), "params": {"r": 8}}
    finished.bundle(project, "production", **changes)
    finished.bundle(project, "candidate")
    finished.reports(project)
    compare.run(settings)
    report.run(settings)
    text = report.MARKDOWN.read_text().split("### What changed since production")[1].split("###")[0]
    return re.sub(r"</?code>", "", text).splitlines()


def test_what_changed_names_data_params_and_code_that_differ_from_the_pinned_commit(project):
    commit = commit_production(project)
    pin(project, commit)
    lines = compared_with_a_release(project)
    for expected in (
        "| model | LoRA adapter support-triage&#64;v1.0.0 | LoRA adapter |",
        "| rows read | 500 | 1,000 |",
        "| rows kept | 440 | 880 |",
        "| training examples | 320 | 640 |",
        "| data partitions | 2026-07 | 2026-07, 2026-08 |",
        "| train.epochs | 2 | 3 |",
        f"| code | {commit[:12]} | 1 files differ: src/project.py |",
    ):
        assert expected in lines
    assert not any(line.startswith(("| prompt", "| base model", "| train.r ", "| evaluate")) for line in lines)


def test_a_pinned_commit_that_this_clone_does_not_hold_is_said(project):
    pin(project, "a" * 40)
    lines = compared_with_a_release(project)
    assert "| rows read | unknown: its commit is not in this clone | 1,000 |" in lines
    assert "| train.r | 8 | 16 |" in lines
    assert not any(line.startswith("| code") for line in lines)
