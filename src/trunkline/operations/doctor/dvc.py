"""Whether data and weights can be handed over: a DVC remote that is there, is checked, and answers."""

import os
from pathlib import Path

from trunkline.clients.dvc import settings
from trunkline.clients.github.place import without_user
from trunkline.errors import Error
from trunkline.operations.doctor.diagnosis import Diagnosis, failed, passed, unknown

_ADD = "dvc remote add --default storage s3://BUCKET/FOLDER && git add .dvc/config"


def check() -> list[Diagnosis]:
    """All of it, or why DVC's configuration cannot be read."""
    try:
        found = settings.settings()
    except Error as error:
        return [failed("configuration", error.problem, error.hint)]
    if found.remote is None or found.url is None:
        said = "no default remote" if found.remote is None else f"the remote {found.remote} has no url"
        return [failed("remote", said, _ADD), _cache(found.cache)]
    return [
        passed("remote", f"{found.remote} at {without_user(found.url)}"),
        _verify(found.remote, found.verify),
        _answer(found.remote),
        _cache(found.cache),
    ]


def _verify(name: str, verify: bool) -> Diagnosis:
    if verify:
        return passed("verify", "what is pulled is compared with its hash")
    found = "damaged or swapped objects are taken as good"
    return failed("verify", found, f"dvc remote modify {name} verify true && git add .dvc/config")


def _answer(name: str) -> Diagnosis:
    try:
        nothing = settings.listed(name)
    except Error as error:
        return failed("answer", error.problem, error.hint)
    if nothing is not None:
        return unknown(
            "answer", f"nothing is there yet ({nothing})", "dvc push, which also proves that it can be written"
        )
    return passed("answer", "it lists its files")


def _cache(folder: Path) -> Diagnosis:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        return passed("cache", str(folder))
    return failed("cache", f"{there} cannot be written", "dvc config --local cache.dir A_FOLDER_OF_YOURS")
