"""Documents on a branch: read alike by all who read them, whatever somebody wrote there."""

import pytest

from test_rollout_state import RUNNING
from trunkline.errors import Error
from trunkline.records.release import Serving
from trunkline.records.rollout import Rollout

SERVING = Serving(
    model="m",
    environment="production",
    version="v1.0.0",
    commit="c" * 40,
    weights={"adapter_model.safetensors": "a" * 64},
    action="promote",
    reason="la meilleure réponse",
    by="ann",
    since="2026-11-01T12:00:00+00:00",
    tag="m#production#1",
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("document", [SERVING, RUNNING])
def test_a_document_is_read_as_it_was_written_in_whatever_encoding(document, encoding):
    assert type(document).parse(document.yaml().encode(encoding), "here") == document


@pytest.mark.parametrize("kind", [Serving, Rollout])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"model: [m", "m.yaml is not valid YAML"),
        (b"model: \xff\xfe", "m.yaml is not valid YAML"),
        (b"since: 2026-13-45", "m.yaml is not valid YAML"),
        (b"[" * 400, "m.yaml is not valid YAML"),
        (b"", "m.yaml: the document"),
        (b"- m", "m.yaml: the document"),
        (b"model: 3", "m.yaml: (name|model)"),
    ],
)
def test_what_is_none_is_named_and_no_traceback(kind, content, said):
    with pytest.raises(Error, match=said):
        kind.parse(content, "m.yaml")
