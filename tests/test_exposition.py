"""Prometheus' text format: what promtool accepts, and histograms that add up."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import exposition
from trunkline.exposition import Histogram


@given(values=st.lists(st.floats(0, 100)), bounds=st.lists(st.floats(0.1, 50), unique=True).map(sorted))
def test_a_histogram_counts_each_value_below_every_bound_that_is_not_smaller(values, bounds):
    histogram = Histogram(bounds)
    for value in values:
        histogram.add(value)
    *buckets, total, count = histogram.samples("x", {"arm": "a"})
    counts = [int(line.rsplit(" ", 1)[1]) for line in buckets]
    assert counts == [sum(value <= bound for value in values) for bound in bounds] + [len(values)]
    assert buckets[-1].startswith('x_bucket{arm="a",le="+Inf"}')
    assert float(total.rsplit(" ", 1)[1]) == pytest.approx(sum(values), rel=1e-6)
    assert count == f'x_count{{arm="a"}} {len(values)}'


def test_a_label_may_hold_anything():
    assert exposition.sample("x", {"a": 'q"\\\n'}, 1.5) == 'x{a="q\\"\\\\\\n"} 1.5'
    assert exposition.sample("x", {}, 12345678) == "x 12345678"
    assert exposition.head("x", "gauge", "Help.") == ["# HELP x Help.", "# TYPE x gauge"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool: Debian's package prometheus")
def test_promtool_accepts_it():
    histogram = Histogram([0.5, 1])
    histogram.add(0.7)
    lines = [*exposition.head("a_seconds", "histogram", "A."), *histogram.samples("a_seconds", {"arm": 'q"\\\n'})]
    lines += [*exposition.head("b_total", "counter", "B."), exposition.sample("b_total", {"arm": "\n"}, 3)]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
