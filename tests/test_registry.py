"""The registry's grammar and what the tags say together; GTO's own reading is in test_registry_gto.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import registry
from trunkline.errors import Error
from trunkline.records.release import Tag
from trunkline.registry import Assignment, Deprecation, Registration, Version

MODELS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,12}", fullmatch=True)
NUMBERS = st.integers(0, 40)
LABELS = st.from_regex(r"(0|[1-9][0-9]{0,3}|[a-z][a-z0-9-]{0,4})", fullmatch=True)
VERSIONS = st.builds(
    lambda core, pre, build: Version(
        "v" + ".".join(map(str, core)) + ("-" + ".".join(pre) if pre else "") + ("+" + build if build else "")
    ),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.lists(LABELS, max_size=3),
    st.sampled_from(["", "b1"]),
)
EVENTS = st.one_of(
    st.builds(Registration, MODELS, VERSIONS, st.booleans()),
    st.builds(Deprecation, MODELS),
    st.builds(Assignment, MODELS, MODELS, st.integers(1, 10**6), st.booleans()),
)


def tag(name: str, commit: str = "a", time: int = 0, message: str = "") -> Tag:
    return Tag(name, commit * 40, time, message)


@given(EVENTS)
def test_what_is_written_is_read_back(event):
    assert registry.parse(registry.name(event)) == event


@pytest.mark.parametrize(
    "name",
    [
        "v1.0.0",
        "m@1.0.0",
        "m@v1.0",
        "m@v01.0.0",
        "m#prod",
        "m#prod#0",
        "m#prod#01",
        "M@v1.0.0",
        "m@v1.0.0-",
        "m##1",
        "",
    ],
)
def test_other_tags_are_no_events(name):
    assert registry.parse(name) is None


def test_versions_are_ordered_as_semver_says():
    written = ["v1.0.0-alpha", "v1.0.0-alpha.1", "v1.0.0-alpha.beta", "v1.0.0-beta", "v1.0.0-beta.2", "v1.0.0-beta.11"]
    written += ["v1.0.0-rc.1", "v1.0.0", "v1.0.1", "v1.2.0", "v1.10.0", "v2.0.0"]
    assert sorted(map(Version, reversed(written))) == [Version(text) for text in written]


@given(VERSIONS, st.sampled_from(registry.PARTS))
def test_a_bumped_version_is_newer_and_final(version, part):
    bumped = version.bumped(part)
    assert bumped > version or str(version).startswith(f"{bumped}+")
    assert "-" not in str(bumped)


@pytest.mark.parametrize(("part", "first", "second"), [("major", "v1.0.0", "v2.0.0"), ("minor", "v0.1.0", "v0.2.0")])
def test_the_first_release_has_a_version_too(part, first, second):
    assert str(registry.EMPTY.next_version(part)) == first
    assert str(registry.of([tag(f"m@{first}")], "m").next_version(part)) == second


def test_a_wrong_version_is_told():
    with pytest.raises(Error, match="'1.2.3' is not a version"):
        Version("1.2.3")


def test_the_counter_decides_and_not_the_clock():
    tags = [tag("m@v1.0.0", "a"), tag("m@v2.0.0", "b"), tag("m#production#31", "b", 5), tag("m#production#30", "a", 9)]
    assert registry.of(tags, "m").environments["production"].version == Version("v2.0.0")


@given(
    st.permutations(
        ["m@v1.0.0", "m@v1.1.0", "m#canary#1", "m#production#2", "m#canary!#3", "m#production#10", "n@v9.0.0"]
    )
)
def test_the_order_of_the_tags_changes_nothing(names):
    commits = {"m@v1.1.0": "b", "m#canary#1": "b", "m#canary!#3": "b", "m#production#10": "b"}
    state = registry.of((tag(name, commits.get(name, "a")) for name in names), "m")
    assert [str(version) for version in state.versions] == ["v1.0.0", "v1.1.0"]
    assert state.environments.keys() == {"production"}
    assert str(state.environments["production"].version) == "v1.1.0"
    assert [event.number for event, _ in state.assignments] == [1, 2, 3, 10]
    assert state.next_number == 11


def test_a_withdrawn_version_is_not_replaced_by_the_one_before_it():
    """GTO then serves the previous version without a word; here the environment serves no known version."""
    tags = [tag("m@v1.0.0", "a"), tag("m@v2.0.0", "b"), tag("m#production#1", "b"), tag("m@v2.0.0!", "b")]
    state = registry.of(tags, "m")
    assert state.latest == Version("v1.0.0")
    serves = state.environments["production"]
    assert (serves.version, serves.named) == (None, Version("v2.0.0"))
    assert list(state.withdrawn) == [Version("v2.0.0")]


def test_a_withdrawn_version_is_never_given_again():
    state = registry.of([tag("m@v1.0.0"), tag("m@v2.0.0", "b"), tag("m@v2.0.0!", "b")], "m")
    assert str(state.next_version("major")) == "v3.0.0"
    assert str(state.next_version("patch")) == "v2.0.1"


def test_a_withdrawn_version_that_the_message_names_is_not_taken_for_another_of_its_commit():
    tags = [tag("m@v1.0.0"), tag("m@v1.0.1"), tag("m@v1.0.0!"), tag("m#production#1", message="m v1.0.0 serves\n\n{}")]
    serves = registry.of(tags, "m").environments["production"]
    assert (serves.version, serves.named) == (None, Version("v1.0.0"))


@given(st.permutations(["m#production#1", "m#production!#2", "m#production#2", "m#canary#2"]))
def test_numbers_that_tie_are_ordered_the_same_way_everywhere(names):
    state = registry.of((tag(name) for name in [*names, "m@v1.0.0"]), "m")
    assert state.environments.keys() == {"canary"}
    assert state.next_number == 3


def test_of_two_versions_on_one_commit_the_message_names_the_assigned_one():
    tags = [tag("m@v1.0.0"), tag("m@v1.0.1"), tag("m#production#1", message="m v1.0.0 serves in production\n\n{}")]
    assert registry.of(tags, "m").environments["production"].version == Version("v1.0.0")
    unnamed = [*tags[:2], tag("m#production#1")]
    assert registry.of(unnamed, "m").environments["production"].version == Version("v1.0.1")


def test_a_deprecated_model_says_so():
    assert registry.of([tag("m@v1.0.0"), tag("m@deprecated")], "m").deprecated
    assert not registry.of([tag("m@v1.0.0"), tag("mm@deprecated")], "m").deprecated


def test_no_tags_are_an_empty_registry():
    assert registry.fold([]) == {}
    assert registry.of([], "m") == registry.EMPTY
    assert registry.EMPTY.latest is None
