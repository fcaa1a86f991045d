"""What several test files share: a tiny model, and no influence of the user's own configuration."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    import github_double
    from hub_double import Double

# Tiny models gain nothing from threads, and lose much where other work shares the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
# A Git hook that runs the tests names its repository, which must not be taken for the scratch ones.
for _name in subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True).stdout.split():
    os.environ.pop(_name, None)
# The same examples for everybody, so that a change is what makes a test fail; `--hypothesis-seed=N` draws others.
# How long an example takes says nothing where other work shares the cores.
hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings.default,
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")


# The files that take minutes, the longest first: they start while the other processes do the rest.
_LONGEST = (
    "test_real_model.py",
    "test_story.py",
    "test_act_story.py",
    "test_supervise_story.py",
    "test_loop_story.py",
    "test_hosted_story.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files begin."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models/base-like folder with a random 3-layer Llama; copy it before changing a file in it."""
    import tiny

    return tiny.build(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose `main` holds a finished run, beside its origin and DVC remote; see tests/pull_request.py."""
    import pull_request

    return pull_request.build(tmp_path_factory.mktemp("merged") / "world")


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a step of a job sets its outputs; `pull_request.outputs` reads it."""
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    return tmp_path / "output"


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run the test in an empty folder, as stages use paths relative to the current one."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture
def nameless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for scratch repositories, in which neither Git nor a workflow says who we are."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))
    for name in [name for name in os.environ if name.startswith(("GIT_AUTHOR_", "GIT_COMMITTER_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def clones(nameless: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two clones of a bare ``origin.git`` beside them; the test runs in the first."""
    import releases

    made = releases.clones(nameless, 2)
    monkeypatch.chdir(made[0])
    return made


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> "Iterator[Double]":
    """A Hugging Face Hub of this test alone, and the only one that huggingface_hub can reach."""
    import hub_double
    from trunkline.clients import hub

    monkeypatch.setattr(hub, "WAITS_S", (0.01,) * len(hub.WAITS_S))
    folder = tmp_path_factory.mktemp("hub")
    with hub_double.serving(folder / "blobs") as double:
        hub_double.stand_in(double, folder / "home", monkeypatch)
        yield double


@pytest.fixture
def double() -> Iterator["github_double.GitHubDouble"]:
    """A GitHub on this machine, with pull request 42 of acme/trunkline; see tests/github_double.py."""
    import github_double

    with github_double.GitHubDouble() as running:
        yield running


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `cml` on PATH that refuses unsafe calls and otherwise does what CML does; see tests/cml_double.py."""
    path = tmp_path / "bin/cml"
    path.parent.mkdir()
    source = (Path(__file__).parent / "cml_double.py").read_text()
    path.write_text(f"#!{sys.executable} -S\n{source}")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    return path
