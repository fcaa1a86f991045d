"""A commit's candidate as the model to compare with; `test_pin.py` has the command around it."""

import pytest

import starter
from trunkline.clients import pinned
from trunkline.errors import Error


def test_a_commit_that_has_trained_nothing_cannot_be_compared_with(in_tmp):
    starter.git(in_tmp, "init", "-q")
    (in_tmp / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    starter.git(in_tmp, "add", "-A")
    starter.git(in_tmp, "commit", "-qm", "nothing trained")
    with pytest.raises(Error, match="dvc.lock has no output models/candidate"):
        pinned.of_commit("v1.0.0", starter.git(in_tmp, "rev-parse", "HEAD"))
