"""Text from templates: what is missing is a mistake, what is quoted cannot break out."""

import base64
import hashlib
import html

import jinja2
import jinja2.meta
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trunkline import templating


def test_a_value_that_a_template_needs_is_not_left_out_silently():
    with pytest.raises(jinja2.UndefinedError, match="params"):
        templating.fill("haproxy.cfg.j2", backends={}, seed=1, most=1, key="canary")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_quoted_text_is_one_yaml_value(text):
    assert yaml.safe_load(f"key: [{templating.quoted(text)}, end]") == {"key": [text, "end"]}
    assert "\n" not in templating.quoted(text)


def test_a_page_lets_only_its_own_style_and_script_run_and_escapes_everything():
    environment = jinja2.Environment(loader=jinja2.PackageLoader("trunkline"), autoescape=True)
    environment.filters["cut"] = str
    source, *_ = environment.loader.get_source(environment, "monitor.html.j2")
    nothing = dict.fromkeys(jinja2.meta.find_undeclared_variables(environment.parse(source)), "")
    page = templating.page("monitor.html.j2", {**nothing, "project": "<b>", "head": "<script>x</script>"})
    assert "<script>" not in page
    assert "&lt;b&gt;" in page
    policy = page.split('Content-Security-Policy" content="')[1].split('"')[0]
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = html.unescape(policy).split("; ")
    assert rules == ["default-src 'none'", f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'"]
