"""Registration: functions by name and version, identified by their source."""

import textwrap

import pytest

from trunkline import pii
from trunkline.errors import Error
from trunkline.registration import Registration


def first() -> int:
    return 1


def second() -> int:
    return 2


@pytest.fixture
def known():
    return Registration("thing", "some.section")


def test_what_was_registered_is_found_by_name_and_by_id(known):
    known.add("one@1", first, first, ())
    identity = known.identify(["one@1"])[0]
    assert known.find("one@1").value is first
    assert known.find(identity) == known.find("one@1")


def test_the_id_depends_on_the_source_and_on_what_it_uses(known):
    known.add("one@1", first, first, ())
    known.add("two@1", second, second, ())
    known.add("three@1", first, first, (pii,))
    assert len({identity.split(":")[1] for identity in known.identify(["one@1", "two@1", "three@1"])}) == 3


def test_the_same_source_may_register_again_and_another_may_not(known, tmp_path):
    known.add("one@1", first, first, ())
    known.add("one@1", first, first, ())
    with pytest.raises(Error, match="thing one@1 is registered twice"):
        known.add("one@1", second, second, ())
    assert known.find("one@1").value is first


def test_an_unknown_name_lists_the_known_and_where_to_correct_it(known):
    known.add("one@1", first, first, ())
    with pytest.raises(Error, match="thing nope@1 is not registered; known: one@1") as caught:
        known.find("nope@1")
    assert "some.section" in caught.value.hint


def test_the_projects_module_may_be_loaded_twice(tmp_path):
    from trunkline import guard
    from trunkline.clients import project

    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent(
            """
            from trunkline.guard import Exchange, guard

            @guard("mine", 1, on="input")
            def mine(exchange: Exchange) -> str | None:
                return None
            """
        )
    )
    project.load(str(path))
    identity = guard.identify({"mine@1": "flag"})
    project.load(str(path))
    assert guard.identify({"mine@1": "flag"}) == identity
