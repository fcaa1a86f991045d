"""The Hub's HTTP interface for models: which request reads or changes what, and the answer's exact shape."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from hub_store import File, Refusal, Repository, belongs_to_lfs, git_oid, pointer

if TYPE_CHECKING:
    from hub_double import Double

JOB = "job_ThisTokenMustNeverBePrinted"  # with which a job of GitHub Actions asks who it is
REPO = r"(?P<repo>[^/]+/[^/]+)"


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    token: str


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: dict[str, str]


ROUTES: list[tuple[str, re.Pattern[str], Callable[..., object]]] = []


def route(methods: str, path: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Let a function answer these requests; what it returns is sent as JSON unless it is an `Answer`."""

    def register(function: Callable[..., object]) -> Callable[..., object]:
        ROUTES.extend((method, re.compile(path), function) for method in methods.split())
        return function

    return register


def as_json(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(content).encode(), {"Content-Type": "application/json", **(headers or {})})


def readable(double: "Double", request: Request, repo: str) -> Repository:
    found = double.repositories.get(repo)
    if found is None or (found.private and request.token not in double.writers | found.readers):
        raise Refusal(404, "Repository not found", "RepoNotFound")
    return found


def writable(double: "Double", request: Request, repo: str) -> Repository:
    if request.token not in double.writers:
        raise Refusal(403 if request.token else 401, "You need a token that may write")
    return readable(double, request, repo)


# ---- reading


@route("GET", "/api/whoami-v2")
def whoami(double: "Double", request: Request) -> object:
    if not request.token:
        raise Refusal(401, "Invalid username or password.")
    role = "write" if request.token in double.writers else "read"
    return {"type": "user", "name": "ada", "auth": {"accessToken": {"displayName": "release", "role": role}}}


@route("GET", rf"/api/models/{REPO}/auth-check/write")
def auth_check_write(double: "Double", request: Request, repo: str) -> object:
    readable(double, request, repo)
    writable(double, request, repo)
    return {}


@route("GET", rf"/api/models/{REPO}(?:/revision/(?P<revision>[^/]+))?")
def info(double: "Double", request: Request, repo: str, revision: str = "main") -> object:
    found = readable(double, request, repo)
    siblings = []
    for path, file in sorted(found.files(revision).items()):
        blob = {"size": file.size, "blobId": file.oid, **_lfs("sha256", file)}
        siblings.append({"rfilename": path, **(blob if request.query.get("blobs") else {})})
    named = {"id": repo, "sha": found.resolve(revision), "siblings": siblings}
    return {**named, "private": found.private, "gated": "manual" if found.gated else False}


@route("GET", rf"/api/models/{REPO}/tree/(?P<revision>[^/]+)")
def tree(double: "Double", request: Request, repo: str, revision: str) -> object:
    files = readable(double, request, repo).files(revision)
    recursive = request.query.get("recursive") == "true"
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents} - {"."}
    entries = [{"type": "directory", "oid": git_oid(name.encode()), "size": 0, "path": name} for name in folders]
    entries += [_entry(path, file) for path, file in files.items()]
    shown = [entry for entry in sorted(entries, key=_path) if recursive or "/" not in _path(entry)]
    start = int(request.query.get("cursor", 0))
    end = start + double.page
    query = f"recursive={str(recursive).lower()}&expand=false&cursor={end}"
    link = f'<{double.url}{quote(request.path)}?{query}>; rel="next"'
    return as_json(shown[start:end], headers={"Link": link} if end < len(shown) else {})


def _path(entry: dict[str, object]) -> str:
    return str(entry["path"])


def _entry(path: str, file: File) -> dict[str, object]:
    return {"type": "file", "oid": file.oid, "size": file.size, "path": path, **_lfs("oid", file)}


def _lfs(hash_name: str, file: File) -> dict[str, object]:
    stored = {hash_name: file.sha256, "size": file.size, "pointerSize": len(pointer(file.sha256, file.size))}
    return {"lfs": stored} if file.lfs else {}


@route("GET HEAD", rf"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
def resolve(double: "Double", request: Request, repo: str, revision: str, path: str) -> Answer:
    found = readable(double, request, repo)
    if found.gated and request.token not in found.readers:
        raise Refusal(403 if request.token else 401, f"Access to model {repo} is restricted.", "GatedRepo")
    commit = found.resolve(revision)
    file = found.files(commit).get(path)
    if file is None:
        raise Refusal(404, "Entry not found", "EntryNotFound")
    # The real Hub redirects large files to another host. A redirect to this one would be followed by HEAD
    # and lose these headers, so the content is served here.
    headers = {"X-Repo-Commit": commit, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    if file.lfs:
        headers |= {"ETag": f'"{file.sha256}"', "X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
    content = double.blobs.path(file.sha256).read_bytes()
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if wanted is None:
        return Answer(200, content, headers)
    start, last = int(wanted[1]), min(int(wanted[2] or file.size), file.size - 1)
    if start >= file.size:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{file.size}"})
    return Answer(206, content[start : last + 1], {**headers, "Content-Range": f"bytes {start}-{last}/{file.size}"})


@route("GET", rf"/api/models/{REPO}/refs")
def refs(double: "Double", request: Request, repo: str) -> object:
    found = readable(double, request, repo)
    kinds = {"branches": ("heads", found.branches), "tags": ("tags", found.tags), "converts": ("convert", {})}
    return {
        kind: [{"name": name, "ref": f"refs/{space}/{name}", "targetCommit": oid} for name, oid in named.items()]
        for kind, (space, named) in kinds.items()
    }


# ---- writing


@route("GET", "/github/id-token")
def id_token(double: "Double", request: Request) -> object:
    """What GitHub, and not the Hub, answers a job: its identity, made for who is to read it."""
    if request.token != JOB:
        raise Refusal(401, "Bad credentials")
    return {"value": f"identity-for-{request.query['audience']}"}


@route("POST", "/oauth/token")
def exchange(double: "Double", request: Request) -> object:
    """RFC 8693: a token for one model, for the identity of a job that its owner trusts."""
    asked = json.loads(request.body)
    grant = ("urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:id_token")
    named = (asked["grant_type"], asked["subject_token_type"]) == grant
    if not named or asked["subject_token"] != f"identity-for-{double.url}" or asked["resource"] not in double.trusted:
        raise Refusal(400, "invalid_grant")
    double.writers.add(f"hf_jwt_{asked['resource']}")
    return {"access_token": f"hf_jwt_{asked['resource']}", "token_type": "bearer", "expires_in": 3600}


@route("POST", "/api/repos/create")
def create(double: "Double", request: Request) -> object:
    if request.token not in double.writers:
        raise Refusal(401, "Invalid username or password.")
    wanted = json.loads(request.body)
    repo = f"{wanted.get('organization') or 'user'}/{wanted['name']}"
    there = {"url": f"{double.url}/{repo}", "name": repo}
    if repo in double.repositories:
        return as_json({**there, "error": "You already created this model repo"}, 409)
    double.repositories[repo] = Repository(double.blobs, private=wanted.get("visibility") == "private")
    return there


@route("POST", "/api/validate-yaml")
def validate_yaml(double: "Double", request: Request) -> object:
    return {"errors": [], "warnings": []}


@route("POST", rf"/api/models/{REPO}/preupload/(?P<revision>[^/]+)")
def preupload(double: "Double", request: Request, repo: str, revision: str) -> object:
    held = writable(double, request, repo).files(revision)
    answers = []
    for wanted in json.loads(request.body)["files"]:
        path, large = wanted["path"], belongs_to_lfs(wanted["path"], wanted["size"])
        answers.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False})
        if path in held:  # the client then skips a file that is there already
            answers[-1]["oid"] = held[path].sha256 if held[path].lfs else held[path].oid
    return {"files": answers, "commitOid": double.repositories[repo].resolve(revision)}


@route("POST", rf"/{REPO}\.git/info/lfs/objects/batch")
def lfs_batch(double: "Double", request: Request, repo: str) -> object:
    writable(double, request, repo)
    objects = []
    for wanted in json.loads(request.body)["objects"]:
        named = {"oid": wanted["oid"], "size": wanted["size"]}
        upload = {"href": f"{double.url}/lfs/{repo}/{wanted['oid']}"}
        verify = {"href": f"{double.url}/lfs/{repo}/verify"}
        actions = {} if double.blobs.has(wanted["oid"]) else {"actions": {"upload": upload, "verify": verify}}
        objects.append({**named, **actions})
    return {"transfer": "basic", "objects": objects}


@route("PUT", rf"/lfs/{REPO}/(?P<oid>[0-9a-f]{{64}})")
def lfs_upload(double: "Double", request: Request, repo: str, oid: str) -> object:
    # As at the real one, the address is signed: it needs no token.
    if double.blobs.put(request.body) != oid:
        raise Refusal(400, "The content is not what its name says")
    return {}


@route("POST", rf"/lfs/{REPO}/verify")
def lfs_verify(double: "Double", request: Request, repo: str) -> object:
    writable(double, request, repo)
    wanted = json.loads(request.body)
    if not double.blobs.has(wanted["oid"]) or double.blobs.large(wanted["oid"]).size != wanted["size"]:
        raise Refusal(422, "The object is not there")
    return {}


@route("POST", rf"/api/models/{REPO}/commit/(?P<branch>[^/]+)")
def commit(double: "Double", request: Request, repo: str, branch: str) -> object:
    found = writable(double, request, repo)
    header, *operations = [json.loads(line) for line in request.body.splitlines()]
    files = dict(found.files(branch))
    for operation in operations:
        _apply(double, files, operation["key"], operation["value"])
    oid = found.commit(branch, header["value"]["summary"], files, header["value"].get("parentCommit"))
    return {"success": True, "commitOid": oid, "commitUrl": f"{double.url}/{repo}/commit/{oid}", "hookOutput": ""}


def _apply(double: "Double", files: dict[str, File], key: str, value: dict[str, str]) -> None:
    path = value["path"]
    if key == "file":
        files[path] = double.blobs.regular(base64.b64decode(value["content"]))
    elif key == "lfsFile":
        if not double.blobs.has(value["oid"]):
            raise Refusal(400, f"{path} points to an LFS object that is not there")
        files[path] = double.blobs.large(value["oid"])
    else:
        # The client ends a folder's path with a slash.
        gone = [name for name in files if name == path or (key == "deletedFolder" and name.startswith(path))]
        if not gone:
            raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        for name in gone:
            del files[name]


@route("POST", rf"/api/models/{REPO}/tag/(?P<revision>[^/]+)")
def create_tag(double: "Double", request: Request, repo: str, revision: str) -> object:
    writable(double, request, repo).tag(json.loads(request.body)["tag"], revision)
    return {}


@route("POST", rf"/api/models/{REPO}/branch/(?P<name>[^/]+)")
def create_branch(double: "Double", request: Request, repo: str, name: str) -> object:
    writable(double, request, repo).branch(name, json.loads(request.body).get("startingPoint", "main"))
    return {}


@route("DELETE", rf"/api/models/{REPO}/(?P<kind>tag|branch)/(?P<name>[^/]+)")
def delete_ref(double: "Double", request: Request, repo: str, kind: str, name: str) -> object:
    found = writable(double, request, repo)
    if (found.tags if kind == "tag" else found.branches).pop(name, None) is None:
        raise Refusal(404, f"Invalid rev id: {name}", "RevisionNotFound")
    return {}
