"""What may be promoted and rolled back, and what the history says about it: pure functions of tags."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import releases
from trunkline import registry
from trunkline.errors import Error
from trunkline.records.release import Decision, Manifest, Tag, message
from trunkline.registry import Version

MODEL = releases.MODEL


def released(*versions: str) -> list[Tag]:
    """Release tags, each on a commit of its own."""
    made = [releases.manifest(version, f"{number:040x}") for number, version in enumerate(versions, 1)]
    return [Tag(f"{MODEL}@{m.version}", m.commit, 0, message(f"release {m.version}", m)) for m in made]


def decision(version: str, action: str = "promote", environment: str = "production", **changes: object) -> Decision:
    made = Decision(
        model=MODEL,
        environment=environment,
        version=version,
        previous=None,
        action=action,
        reason="because",
        by="ann",
        created="2026-11-20T10:00:00+00:00",
        run=None,
    )
    return made.model_copy(update=changes)


def state(tags: list[Tag]) -> registry.Model:
    return registry.of(tags, MODEL)


def after(tags: list[Tag], *decisions: Decision) -> list[Tag]:
    """The tags once all of these were decided."""
    for one in decisions:
        decide = registry.rollback if one.action == "rollback" else registry.promote
        tags = [*tags, decide(state(tags), one).tag]
    return tags


def serves(tags: list[Tag], environment: str = "production") -> str:
    return str(state(tags).environments[environment].version)


def test_a_promotion_is_a_tag_and_a_file_that_say_the_same():
    change = registry.promote(state(released("v1.0.0")), decision("v1.0.0"))
    assert (change.tag.name, change.tag.commit, change.branch) == (
        f"{MODEL}#production#1",
        f"{1:040x}",
        "env/production",
    )
    assert Decision.of(change.tag) == decision("v1.0.0")
    ((path, content),) = change.files.items()
    assert path == f"{MODEL}.yaml"
    assert yaml.safe_load(content) == {
        "model": MODEL,
        "environment": "production",
        "version": "v1.0.0",
        "commit": f"{1:040x}",
        "weights": {releases.ADAPTER: "3" * 64},
        "action": "promote",
        "reason": "because",
        "by": "ann",
        "since": "2026-11-20T10:00:00+00:00",
        "tag": f"{MODEL}#production#1",
    }
    assert content.decode().startswith("model:")


def test_promotions_go_forward_and_each_records_what_it_followed():
    tags = after(released("v1.0.0", "v1.1.0"), decision("v1.0.0"), decision("v1.1.0"))
    assert serves(tags) == "v1.1.0"
    assert Decision.of(tags[-1]).previous == "v1.0.0"
    with pytest.raises(Error, match="v1.0.0 cannot be promoted to production: production has served v1.1.0") as caught:
        after(tags, decision("v1.0.0"))
    assert "there is none yet; to go back: `trunkline rollback --to v1.0.0 --reason TEXT`" in caught.value.hint


def test_promoting_what_serves_changes_nothing():
    tags = after(released("v1.0.0"), decision("v1.0.0"))
    again = registry.promote(state(tags), decision("v1.0.0", by="bob"))
    assert again.tag == tags[-1]
    assert "serves support-triage v1.0.0 already, since 2026-11-20T10:00:00+00:00 by ann" in registry.told(
        decision("v1.0.0", by="bob"), again, "origin"
    )


def test_a_rollback_pins_until_a_newer_release():
    tags = after(released("v1.0.0", "v1.1.0", "v1.1.1"), decision("v1.0.0"), decision("v1.1.0"))
    tags = after(tags, decision("v1.0.0", "rollback"))
    assert serves(tags) == "v1.0.0"
    assert registry.pinned_by(state(tags), "production") == Version("v1.1.0")
    with pytest.raises(
        Error, match="v1.1.0 cannot be promoted to production: production was rolled back from v1.1.0"
    ) as caught:
        after(tags, decision("v1.1.0"))
    assert "only a newer release may be promoted: v1.1.1" in caught.value.hint
    tags = after(tags, decision("v1.1.1"))
    assert registry.pinned_by(state(tags), "production") is None


def test_a_rollback_pins_one_environment_only():
    tags = released("v1.0.0", "v1.1.0")
    tags = after(tags, decision("v1.0.0"), decision("v1.1.0"), decision("v1.0.0", "rollback"))
    assert serves(after(tags, decision("v1.1.0", environment="canary")), "canary") == "v1.1.0"


def test_a_rollback_can_be_taken_back_by_another():
    tags = after(released("v1.0.0", "v1.1.0"), decision("v1.0.0"), decision("v1.1.0"), decision("v1.0.0", "rollback"))
    tags = after(tags, decision("v1.1.0", "rollback", reason="the alert was wrong"))
    assert serves(tags) == "v1.1.0"
    assert registry.pinned_by(state(tags), "production") is None


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (decision("v9.0.0"), "no release v9.0.0"),
        (decision("v9.0.0", "rollback"), "no release v9.0.0"),
        (decision("v1.2.0"), "v1.2.0 was withdrawn"),
        (decision("v1.2.0", "rollback"), "v1.2.0 was withdrawn"),
        (decision("v1.1.0", "rollback"), "already serves v1.1.0"),
        (decision("v1.3.0", "rollback"), "never served v1.3.0"),
        (decision("v1.3.0", environment="Prod#1"), "'Prod#1' cannot name an environment"),
        (decision("v1.3.0", "rollback", environment=""), "'' cannot name an environment"),
    ],
)
def test_what_may_not_be_is_refused_with_the_reason(wanted, problem):
    tags = released("v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0")
    tags = after(tags, decision("v1.0.0"), decision("v1.1.0"))
    with pytest.raises(Error, match=problem):
        after([*tags, Tag(f"{MODEL}@v1.2.0!", tags[2].commit, 0, "")], wanted)


def test_a_deprecated_model_is_rolled_back_and_not_promoted():
    tags = after(released("v1.0.0", "v1.1.0", "v1.2.0"), decision("v1.0.0"), decision("v1.1.0"))
    tags.append(Tag(f"{MODEL}@deprecated", tags[0].commit, 0, ""))
    with pytest.raises(Error, match="deprecated"):
        after(tags, decision("v1.2.0"))
    assert serves(after(tags, decision("v1.0.0", "rollback"))) == "v1.0.0"


def test_a_release_without_a_manifest_or_with_anothers_is_not_served():
    (foreign,) = (one._replace(message="GTO: register v1.0.0\n") for one in released("v1.0.0"))
    with pytest.raises(Error, match="holds no manifest"):
        after([foreign], decision("v1.0.0"))
    first, second = released("v1.0.0", "v1.1.0")
    moved = second._replace(message=first.message)
    with pytest.raises(Error, match="carries the manifest of support-triage@v1.0.0"):
        after([moved], decision("v1.1.0"))
    assert Manifest.of(first).version == "v1.0.0"


def test_what_another_tool_assigned_is_adopted_by_promoting_it():
    tags = [*released("v1.0.0"), Tag(f"{MODEL}#production#1", f"{1:040x}", 0, "Assigning stage\n")]
    assert registry.promote(state(tags), decision("v1.0.0")).tag.name == f"{MODEL}#production#2"


VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0", "v2.0.0")
WISHES = st.lists(st.tuples(st.sampled_from(VERSIONS), st.sampled_from(["promote", "rollback"])), max_size=12)


@given(WISHES)
def test_whatever_is_wished_no_promotion_returns_to_what_served_before(wishes):
    tags = released(*VERSIONS)
    for version, action in wishes:
        served = state(tags).served("production")
        number = state(tags).next_number
        try:
            change = registry.rollback if action == "rollback" else registry.promote
            made = change(state(tags), decision(version, action)).tag
        except Error:
            continue
        if made.name.endswith(f"#{number}"):
            tags.append(made)
            assert serves(tags) == version
            fresh = all(Version(version) > one for one in served)
            assert fresh if action == "promote" else Version(version) in served[:-1]
    assert [entry.version for entry in registry.history(state(tags))] == [
        Decision.of(tag).version for tag in tags[len(VERSIONS) :]
    ]


def test_the_history_tells_decisions_from_what_other_tools_made_and_from_forgeries():
    tags = after(released("v1.0.0", "v1.1.0", "v1.2.0"), decision("v1.0.0"), decision("v1.1.0"))
    forged = registry.promote(state(tags), decision("v1.2.0")).tag
    tags.append(forged._replace(name=f"{MODEL}#production#3", commit=tags[0].commit))
    tags.append(Tag(f"{MODEL}#canary#4", tags[2].commit, 1_700_000_000, "Assigning\n", by="gto"))
    tags.append(Tag(f"{MODEL}#canary!#5", tags[2].commit, 1_700_000_001, "x\n", by="gto"))
    tags.append(Tag(f"{MODEL}@v1.1.0!", tags[1].commit, 0, ""))
    entries = registry.history(state(tags))
    assert [(e.number, e.version, e.action, e.note) for e in entries] == [
        (1, "v1.0.0", "promote", None),
        (2, "v1.1.0", "promote", "the version was withdrawn"),
        (3, "v1.0.0", "assign", "its message does not fit its tag"),
        (4, "v1.2.0", "assign", "made by another tool"),
        (5, "v1.2.0", "empty", "made by another tool"),
    ]
    assert (entries[3].by, entries[3].time, entries[3].reason) == ("gto", "2023-11-14T22:13:20+00:00", None)
    assert [entry.number for entry in registry.history(state(tags), "canary")] == [4, 5]


@pytest.mark.parametrize(("text", "version"), [("v1.0.0", "v1.0.0"), (f"{MODEL}@v1.0.0", "v1.0.0")])
def test_a_release_is_named_by_its_version_or_its_tag(text, version):
    assert registry.release(text, MODEL) == Version(version)


@pytest.mark.parametrize("text", ["other@v1.0.0", "latest", "", f"{MODEL}#production#1"])
def test_what_names_no_release_of_this_model_is_told(text):
    with pytest.raises(Error, match="is a release of other|is not a version"):
        registry.release(text, MODEL)
