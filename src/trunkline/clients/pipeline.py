"""What DVC would run again, told from dvc.lock, code and params: data under DVC need not be here.

As ``dvc repro --allow-missing --dry``, with two differences. A folder that holds files under DVC among others
is compared without them too, by the hashes that their ``.dvc`` files record. And only what DVC can fetch may
be missing: a source file or a report that is gone is a change.
"""

import os
from collections.abc import Callable, Iterable
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

from dvc.exceptions import DvcException
from dvc.repo import Repo

from trunkline.errors import Error

_ALWAYS = "it is declared to run always"
# What it reads may have changed, and its results count all the same.
_FROZEN = "it is frozen: `dvc unfreeze` it"
_NEVER = "it has not run yet"
_COMMAND = "its command changed"

Found = TypeVar("Found")


def stale(folder: Path, outside: bool = False) -> dict[str, list[str]]:
    """The stages that DVC would run, in the order it would, each with its reasons.

    A stage whose input is made by a stage in the list is in the list.

    Args:
        outside: whether to look up inputs outside of the folder, such as ``s3://bucket/file``, too; otherwise
            they count as unchanged, since who asks need not have them.

    Raises:
        Error: there is no DVC here, its files cannot be read, or DVC failed.
    """
    return _asked(folder, lambda repo: _stale(repo, outside))


def unwritten(folder: Path, paths: Iterable[Path]) -> list[Path]:
    """Of these files, those that no stage writes: DVC calls them up to date whatever they say.

    A stage that does is in `stale` until dvc.lock records what it has written.

    Args:
        paths: from the folder.

    Raises:
        Error: as of `stale`.
    """
    return _asked(folder, lambda repo: [path for path in paths if not _written(repo, path)])


def _asked(folder: Path, question: Callable[[Any], Found]) -> Found:
    try:
        with Repo(str(folder)) as repo:
            return question(repo)
    except DvcException as error:
        said = " ".join(str(error).split()).replace(os.path.relpath(folder) + os.sep, "")
        raise Error(f"DVC: {said}", "run `dvc status` to see why") from error


def _written(repo: Any, path: Path) -> bool:  # noqa: ANN401
    place = os.path.join(repo.root_dir, path)
    return any(stage.cmd and _within(place, out.fs_path) for stage in repo.index.stages for out in stage.outs)


def _stale(repo: Any, outside: bool) -> dict[str, list[str]]:  # noqa: ANN401
    found: dict[str, list[str]] = {}
    made: dict[str, str] = {}
    for stage in _in_order(repo):
        reasons = _reasons(repo, stage, outside) + _remade(repo, stage, made)
        if reasons:
            name = _stage_name(stage)
            found[name] = reasons
            made |= {out.fs_path: name for out in stage.outs}
    return found


def _in_order(repo: Any) -> list[Any]:  # noqa: ANN401
    graph = repo.index.graph
    return list(TopologicalSorter({stage: graph.successors(stage) for stage in repo.index.stages}).static_order())


def _reasons(repo: Any, stage: Any, outside: bool) -> list[str]:  # noqa: ANN401
    if stage.cmd and not any(entry.hash_info for entry in [*stage.deps, *stage.outs]):
        return [_NEVER]
    reasons = [_ALWAYS] if stage.always_changed else []
    if stage.frozen and stage.cmd:
        reasons.append(_FROZEN)
    if stage.changed_stage() and not stage.is_data_source:
        reasons.append(_COMMAND)
    if not stage.frozen and not stage.is_import:
        for dependency in stage.deps:
            if _inside(repo, dependency):
                reasons += _changed_input(repo, dependency)
            elif outside:
                reasons += [f"{path}: {how}" for path, how in dependency.status().items()]
    for out in stage.outs:
        reasons += _changed_output(repo, out)
    return reasons


def _remade(repo: Any, stage: Any, made: dict[str, str]) -> list[str]:  # noqa: ANN401
    if stage.frozen:
        return []
    return [
        f"{_path(repo, dependency)} is made again by {maker}"
        for dependency in stage.deps
        for path, maker in made.items()
        if _within(dependency.fs_path, path) or _within(path, dependency.fs_path)
    ]


def _changed_input(repo: Any, dependency: Any) -> list[str]:  # noqa: ANN401
    name = _path(repo, dependency)
    if hasattr(dependency, "params"):
        return _changed_params(name, dependency)
    if not dependency.hash_info:
        return [f"{name} is a new input"]
    if os.path.exists(dependency.fs_path):
        difference = _difference(repo, dependency)
        return [f"{name} {difference}"] if difference else []
    makers = [out for out in repo.index.outs if out.fs_path == dependency.fs_path and out.use_cache]
    if not makers:
        return [f"{name} is missing"]
    same = all(out.hash_info == dependency.hash_info for out in makers)
    return [] if same else [f"{name} is another one than dvc.lock records where it is made"]


def _changed_params(name: str, dependency: Any) -> list[str]:  # noqa: ANN401
    status = dependency.status().get(str(dependency), {})
    if isinstance(status, str):
        return [f"{name} is {'missing' if status == 'deleted' else status}"]
    words = {"modified": "changed", "deleted": "is gone", "new": "is new"}
    return [f"{name}: {key} {words[how]}" for key, how in status.items()]


def _changed_output(repo: Any, out: Any) -> list[str]:  # noqa: ANN401
    name = _path(repo, out)
    if not out.hash_info:
        return [f"{name} is a new output"]
    if out.protocol == "local" and not _inside(repo, out):
        return [f"{name} lies outside of the repository"]  # and whose file it is there is nobody's to be told
    if os.path.exists(out.fs_path):
        return [f"{name} is not what was recorded"] if _difference(repo, out) else []
    return [] if out.use_cache else [f"{name} is missing"]


def _difference(repo: Any, entry: Any) -> str | None:  # noqa: ANN401
    """How a file or folder differs from what dvc.lock records, with the files that DVC would fetch into it."""
    _, _, found = entry._build(
        entry.repo.cache.local, entry.fs_path, entry.fs, entry.hash_name, ignore=entry.dvcignore, dry_run=True
    )
    as_it_is = bool(found.hash_info == entry.hash_info)
    inside = [out for out in repo.index.outs if out is not entry and _within(out.fs_path, entry.fs_path)]
    away = [out for out in inside if out.use_cache and not os.path.exists(out.fs_path)]
    if not away:
        return None if as_it_is else "changed"
    for out in away:
        # What a folder holds is written in the cache or nowhere: without it nothing is shown to be the same.
        if not out.hash_info or out.hash_info.isdir:
            return f"cannot be told without {_path(repo, out)}"
        found.add(tuple(os.path.relpath(out.fs_path, entry.fs_path).split(os.sep)), out.meta, out.hash_info)
    found.digest()
    if found.hash_info == entry.hash_info:
        return None
    # DVC runs a stage on a folder of which it has not fetched everything, and records that as right.
    return f"was read without {', '.join(_path(repo, out) for out in away)}" if as_it_is else "changed"


# DVC's own names depend on the current folder, which need not be in this tree.


def _stage_name(stage: Any) -> str:  # noqa: ANN401
    path: str = stage.path_in_repo
    name: str = getattr(stage, "name", None) or ""
    return name if path == "dvc.yaml" else f"{path}:{name}" if name else path


def _path(repo: Any, entry: Any) -> str:  # noqa: ANN401
    return os.path.relpath(entry.fs_path, repo.root_dir) if _inside(repo, entry) else str(entry)


def _inside(repo: Any, entry: Any) -> bool:  # noqa: ANN401
    return entry.protocol == "local" and _within(entry.fs_path, repo.root_dir)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)
