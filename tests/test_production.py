"""The production stage: with `pin` it is one story, told in test_pin; here what it needs to start."""

import pytest

import starter
from trunkline.errors import Error
from trunkline.stages import production


def test_it_needs_the_pin_and_the_base_model(in_tmp):
    settings = starter.settings(in_tmp)
    with pytest.raises(Error, match=r"data/production.json not found"):
        production.run(settings)
    starter.inputs(in_tmp)
    with pytest.raises(Error, match=r"models/base/base.json not found"):
        production.run(settings)
