"""Text from templates: what is missing is a mistake, what is quoted cannot break out."""

import jinja2
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
