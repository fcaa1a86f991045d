"""Fetch the release that this branch is compared with: what data/production.json pins, never looked up."""

from pathlib import Path

from trunkline.clients import dvc, files
from trunkline.errors import Error
from trunkline.params import Params
from trunkline.records import Base, Bundle, Production, Report, Task
from trunkline.verdict import Check, Verdict

BASE = Path("models/base")
FOLDER = Path("models/production")
TASK = Path("data/task.json")
REPORT = Path("reports/production.json")
CANDIDATE = "models/candidate"


def run(params: Params) -> None:
    """Write ``models/production/``: a release's adapter, or only the word that it is the base model.

    A release that was trained on another base model brings that one along, in ``models/production/base``.

    Raises:
        Error: the pin is missing or wrong, or the release cannot be fetched or is not what was pinned.
    """
    pinned = Production.read(Path(params.production.pinned))
    base = Base.read(BASE / "base.json")
    with files.replacing(FOLDER) as partial:
        if pinned.revision is None:
            partial.mkdir()
            files.write_text(partial / "bundle.json", _untuned(base).text())
        else:
            _fetch(pinned, base, partial)
    message = f"production is {pinned.release or f'the untuned base model {base.source}'}"
    check = Check(name="production.pinned", verdict=Verdict.PASS, value=None, limit=None, message=message)
    metrics = {"release": pinned.release, "revision": pinned.revision}
    files.write_text(REPORT, Report.of("production", (check,), metrics, {"partitions": list(pinned.partitions)}).text())


def _untuned(base: Base) -> Bundle:
    # Before the first release there is no production prompt: the base model is asked the candidate's question.
    return Bundle(
        kind="base",
        release=None,
        base=base.sha256,
        weights={},
        task=Task.read(TASK),
        partitions=(),
        trained_on=None,
        params={},
        configuration=base.configuration,
    )


def _fetch(pinned: Production, base: Base, folder: Path) -> None:
    revision = str(pinned.revision)
    dvc.fetch(revision, CANDIDATE, folder)
    bundle = Bundle.read(folder / "bundle.json")
    for name, expected in bundle.weights.items():
        if files.sha256(folder / name) != expected:
            raise Error(
                f"{name} of release {pinned.release} is not the file that was trained",
                "the DVC cache or remote is damaged: remove the object there and push it again",
            )
    if not bundle.goes_on(base):
        dvc.fetch(revision, str(BASE), folder / "base")
    released = bundle.model_copy(update={"release": pinned.release})
    files.write_text(folder / "bundle.json", released.text())
