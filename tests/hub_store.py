"""What a double of the Hub keeps: blobs in a folder by SHA-256, and repositories of commits that name them."""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

# The Hub's own .gitattributes of a new repository, as far as models need it; large files are LFS too.
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".h5", ".msgpack", ".onnx", ".pt", ".npz")
LFS_BYTES = 10_000_000
MIN_SHORT_COMMIT = 7


class Refusal(Exception):
    """What the Hub answers instead of what was asked for; ``code`` is its X-Error-Code."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class File(NamedTuple):
    """A file of a commit. ``oid`` is Git's name for it: of its content, or of the pointer that stands for it."""

    oid: str
    sha256: str
    size: int
    lfs: bool


class Commit(NamedTuple):
    parent: str
    summary: str
    files: dict[str, File]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The small file that Git keeps where the content is in large file storage."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def belongs_to_lfs(path: str, size: int) -> bool:
    # An empty file cannot be an LFS object; the client sends it as a regular one whatever the Hub says.
    return size > 0 and (path.endswith(LFS_SUFFIXES) or size > LFS_BYTES)


class Blobs:
    """Contents by their SHA-256, each a file of the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._folder / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.path(sha256).write_bytes(content)
        return sha256

    def regular(self, content: bytes) -> File:
        return File(git_oid(content), self.put(content), len(content), lfs=False)

    def large(self, sha256: str) -> File:
        size = self.path(sha256).stat().st_size
        return File(git_oid(pointer(sha256, size)), sha256, size, lfs=True)

    def file(self, path: str, content: bytes) -> File:
        """Keep a content the way the Hub keeps a file of that name and size."""
        return self.large(self.put(content)) if belongs_to_lfs(path, len(content)) else self.regular(content)


class Repository:
    """Branches, tags and commits of one model; who may read it when it is gated or private."""

    def __init__(self, blobs: Blobs, private: bool = False) -> None:
        self.private = private
        self.gated = False
        self.readers: set[str] = set()
        self.commits: dict[str, Commit] = {}
        self.tags: dict[str, str] = {}
        self.branches: dict[str, str] = {}
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        first = {".gitattributes": blobs.regular(attributes.encode())}
        self.branches["main"] = self._add(Commit("", "initial commit", first))

    def resolve(self, revision: str) -> str:
        """The 40-hex commit that a branch, a tag, a commit or its beginning names."""
        for names in (self.branches, self.tags):
            if revision in names:
                return names[revision]
        found = [oid for oid in self.commits if oid.startswith(revision)]
        if len(revision) < MIN_SHORT_COMMIT or len(found) != 1:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def files(self, revision: str) -> dict[str, File]:
        return self.commits[self.resolve(revision)].files

    def commit(self, branch: str, summary: str, files: dict[str, File], parent: str | None = None) -> str:
        """Make ``files`` the content of a branch, if ``parent`` (when given) is still its head."""
        if branch not in self.branches:
            raise Refusal(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        head = self.branches[branch]
        if parent is not None and parent != head:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        self.branches[branch] = self._add(Commit(head, summary, files))
        return self.branches[branch]

    def tag(self, name: str, revision: str) -> None:
        if name in self.tags:
            raise Refusal(409, f"Tag {name} already exists")
        self.tags[name] = self.resolve(revision)

    def branch(self, name: str, revision: str) -> None:
        if name in self.branches:
            raise Refusal(409, f"Branch {name} already exists")
        self.branches[name] = self.resolve(revision)

    def _add(self, commit: Commit) -> str:
        # As in Git, two commits of the same content after the same parent are one: nothing here has a clock.
        oid = hashlib.sha1(json.dumps(commit).encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = commit
        return oid
