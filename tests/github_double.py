"""A GitHub for tests: a real HTTP server that keeps GitHub's contract for what Trunkline asks of it.

Statuses, bodies and headers are those of docs.github.com/rest (2022-11-28) and of recorded answers. Add a
route to `_ROUTES` for what the next client needs. `GitHubDouble.requests` is everything that was asked.
"""

import json
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

BOT = "github-actions[bot]"
REPOSITORY = "acme/trunkline"
HEAD = "c0ffee" + "0" * 34
MERGE = "badc0de" + "0" * 33
PULL = {"number": 42, "created_at": "2026-11-01T08:00:00Z", "head": {"sha": HEAD, "ref": "better"}}
MOST_BODY = 65_536
MOST_DESCRIPTION = 140


class Request(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    status: int
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What the server does instead of answering.

    Attributes:
        method: only requests of this method, or any when empty.
        path: only requests whose path ends like this.
        done: whether the request is carried out and only its answer lost.
        drop: close the connection without an answer.
        text: a body that is no JSON.
    """

    answer: Answer
    method: str = ""
    path: str = ""
    done: bool = False
    drop: bool = False
    text: str | None = None


class Actor(NamedTuple):
    login: str
    may_write: bool
    admin: bool = False  # may read and write the repository's settings, which no workflow's token may


class GitHubDouble:
    """Use as a context manager; `url` is then its address, laid out as a GitHub Enterprise server's.

    Args:
        certificate: a PEM file with a key and its certificate, to speak HTTPS.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self._certificate = certificate
        self.tokens = {"ghs_write": Actor(BOT, True), "ghs_read": Actor(BOT, False)}
        self.tokens["ghp_admin"] = Actor("ada", True, True)
        self.threads: dict[int, list[dict[str, Any]]] = {42: []}
        self.reviews: list[dict[str, Any]] = []
        self.commits = {HEAD, MERGE}
        self.statuses: list[dict[str, Any]] = []
        self.private = True
        self.protection: dict[str, Any] = {"enabled": False}
        self.rulesets: list[dict[str, Any]] = []
        self.environments: dict[str, dict[str, Any]] = {}
        self.deploying_refs: dict[str, list[str]] = {}
        self.secrets: dict[str, list[str]] = {}
        self.variables: dict[str, dict[str, str]] = {}  # by environment; those of the repository by ""
        self.runners: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []  # of workflows: each with its `jobs`
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.links = True
        self.work: Any = None  # its issues and pull requests: tests/github_work.py
        self._next_id = 1000

    def __enter__(self) -> "GitHubDouble":
        handler = type("Handler", (_Handler,), {"double": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http", "https")
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def comment(self, body: str, author: str = BOT, number: int = 42) -> dict[str, Any]:
        """Write a comment as if somebody had done it in the browser."""
        self._next_id += 1
        row = {
            "id": self._next_id,
            "html_url": f"{self.url}/{REPOSITORY}/pull/{number}#issuecomment-{self._next_id}",
            "user": {"login": author, "type": "Bot" if author.endswith("[bot]") else "User"},
            "body": body,
        }
        self.threads[number].append(row)
        return row

    def ran(self, created: str, head: str, conclusion: str | None, minutes: float, **changes: Any) -> None:
        """Let a run of model-pr have trained on a runner, for a commit of the pull request's branch.

        Args:
            changes: of the job; ``branch``, ``event`` and ``workflow`` are of its run.
        """
        began = datetime.fromisoformat(created)
        ended = None if conclusion is None else (began + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
        run = {"event": "pull_request", "branch": PULL["head"]["ref"], "workflow": "model-pr.yml"}
        run |= {key: changes.pop(key) for key in run if key in changes}
        job = {"name": "train", "head_sha": head, "status": "completed" if conclusion else "in_progress"}
        job |= {"conclusion": conclusion, "started_at": created, "completed_at": ended}
        job |= {"runner_id": 7, "runner_name": "gpu", "run_attempt": 1}
        self.runs.append({"id": 700 + len(self.runs), "created_at": created, **run, "jobs": [job | changes]})

    def fail(self, status: int, times: int = 1, **how: Any) -> None:
        """Answer the next requests with an error: see `Fault`; `headers` and `message` are the answer's."""
        content = _error(status, how.pop("message", "Server Error"))
        answer = Answer(status, content, how.pop("headers", {}))
        self.faults += [Fault(answer, **how) for _ in range(times)]

    def asked(self, method: str, path: str = "") -> list[Request]:
        """The requests of this method whose path ends like this."""
        return [request for request in self.requests if request.method == method and request.path.endswith(path)]

    def answer(self, request: Request) -> Answer:
        """What GitHub would answer, after doing what it was asked."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token") or token not in self.tokens:
            return Answer(401, _error(401, "Bad credentials"))
        actor = self.tokens[token]
        if request.method != "GET" and request.path != "/api/graphql" and not actor.may_write:
            permissions = {"x-accepted-github-permissions": "issues=write; pull_requests=write"}
            return Answer(403, _error(403, "Resource not accessible by integration"), permissions)
        for method, pattern, route in _ROUTES:
            found = re.fullmatch(pattern, request.path)
            if found and method == request.method:
                return route(self, actor, request, *found.groups())
        return Answer(404, _error(404, "Not Found"))


def _error(status: int, message: str, *errors: dict[str, str]) -> dict[str, Any]:
    content: dict[str, Any] = {"message": message, "documentation_url": "https://docs.github.com/rest"}
    return content | ({"errors": list(errors)} if errors else {}) | {"status": str(status)}


def _invalid(resource: str, where: str, message: str) -> Answer:
    fault = {"resource": resource, "code": "unprocessable", "field": where, "message": message}
    return Answer(422, _error(422, "Validation Failed", fault))


def _viewer(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    assert "viewer" in request.body["query"]
    return Answer(200, {"data": {"viewer": {"login": actor.login}}})


def _user(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    if actor.login.endswith("[bot]"):
        return Answer(403, _error(403, "Resource not accessible by integration"))
    return Answer(200, {"login": actor.login, "type": "User"})


def _account(double: GitHubDouble, actor: Actor, request: Request, login: str) -> Answer:
    return Answer(200, {"login": login, "id": 1, "name": None})


def _list_comments(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    if int(number) not in double.threads:
        return Answer(404, _error(404, "Not Found"))
    return _page(double, request, double.threads[int(number)])


def _page(double: GitHubDouble, request: Request, rows: list[dict[str, Any]]) -> Answer:
    size = min(100, int(request.query.get("per_page", "30")))
    page = int(request.query.get("page", "1"))
    last = max(1, -(-len(rows) // size))
    where = {"next": page + 1, "last": last} if page < last else {}
    where |= {"first": 1, "prev": page - 1} if page > 1 else {}
    address = f"{double.url}{request.path}?per_page={size}&page="
    links = ", ".join(f'<{address}{target}>; rel="{name}"' for name, target in where.items())
    headers = {"link": links} if links and double.links else {}
    return Answer(200, rows[(page - 1) * size : page * size], headers)


def _wrong_body(body: object) -> Answer | None:
    if not isinstance(body, str) or not body.strip():
        return _invalid("IssueComment", "data", "Body can't be blank")
    if len(body) > MOST_BODY:
        return _invalid("IssueComment", "data", f"Body is too long (maximum is {MOST_BODY} characters)")
    return None


def _add_comment(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    if int(number) not in double.threads:
        return Answer(404, _error(404, "Not Found"))
    wrong = _wrong_body(request.body.get("body"))
    return wrong or Answer(201, double.comment(request.body["body"], actor.login, int(number)))


def _edit_comment(double: GitHubDouble, actor: Actor, request: Request, comment: str) -> Answer:
    # Whoever may write may edit anybody's comment: GitHub does not protect the others.
    for rows in double.threads.values():
        for row in rows:
            if row["id"] == int(comment):
                wrong = _wrong_body(request.body.get("body"))
                if wrong is None:
                    row["body"] = request.body["body"]
                return wrong or Answer(200, row)
    return Answer(404, _error(404, "Not Found"))


def _set_status(double: GitHubDouble, actor: Actor, request: Request, sha: str) -> Answer:
    content = request.body
    if sha not in double.commits:
        return Answer(422, _error(422, f"No commit found for SHA: {sha}"))
    if content.get("state") not in ("error", "failure", "pending", "success"):
        return _invalid("Status", "state", "state is not included in the list")
    if len(content.get("description") or "") > MOST_DESCRIPTION:
        message = f"description is too long (maximum is {MOST_DESCRIPTION} characters)"
        return _invalid("Status", "description", message)
    double.statuses.append({"sha": sha, **content})
    return Answer(201, {"id": len(double.statuses), "creator": {"login": actor.login}, **content})


def _list_reviews(double: GitHubDouble, actor: Actor, request: Request, run: str) -> Answer:
    return Answer(200, double.reviews) if run == "777" else Answer(404, _error(404, "Not Found"))


def _list_runs(double: GitHubDouble, actor: Actor, request: Request, workflow: str) -> Answer:
    asked = request.query
    since = asked.get("created", ">=").removeprefix(">=")
    found = [
        {key: run[key] for key in ("id", "event", "created_at")} | {"head_branch": run["branch"]}
        for run in reversed(double.runs)
        if run["workflow"] == workflow
        and run["event"] == asked.get("event", run["event"])
        and run["branch"] == asked.get("branch", run["branch"])
        and run["created_at"] >= since
    ]
    return _counted(double, request, "workflow_runs", found)


def _list_jobs(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    jobs = next(run["jobs"] for run in double.runs if run["id"] == int(number))
    last = max(job["run_attempt"] for job in jobs)
    shown = [job for job in jobs if request.query.get("filter") == "all" or job["run_attempt"] == last]
    return _counted(double, request, "jobs", shown)


def _repository(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    return Answer(200, {"full_name": REPOSITORY, "private": double.private, "default_branch": "main"})


def _included(ruleset: dict[str, Any]) -> list[str]:
    return list(ruleset["conditions"]["ref_name"]["include"])


def _branch_rules(double: GitHubDouble, actor: Actor, request: Request, branch: str) -> Answer:
    found = [
        {**rule, "ruleset_id": ruleset["id"], "ruleset_source_type": "Repository"}
        for ruleset in double.rulesets
        if ruleset["target"] == "branch" and ruleset["enforcement"] == "active"
        if any(fnmatch(f"refs/heads/{unquote(branch)}", one.replace("**/", "")) for one in _included(ruleset))
        for rule in ruleset["rules"]
    ]
    return _page(double, request, found)


def _branch(double: GitHubDouble, actor: Actor, request: Request, branch: str) -> Answer:
    if branch != "main":
        return Answer(404, _error(404, "Branch not found"))
    return Answer(200, {"name": branch, "protected": double.protection["enabled"], "protection": double.protection})


def _list_rulesets(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    shown = ("id", "name", "target", "enforcement")  # the list has neither conditions nor rules
    return _page(double, request, [{key: ruleset[key] for key in shown} for ruleset in double.rulesets])


def _ruleset(double: GitHubDouble, actor: Actor, request: Request, number: str) -> Answer:
    found = next((ruleset for ruleset in double.rulesets if ruleset["id"] == int(number)), None)
    return Answer(200, found) if found else Answer(404, _error(404, "Not Found"))


def _add_ruleset(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    missing = sorted({"name", "enforcement"} - request.body.keys())
    if missing:
        return Answer(422, _error(422, f"Invalid request. {missing[0]} wasn't supplied."))
    double.rulesets.append({"id": len(double.rulesets) + 1, "target": "branch", **request.body})
    return Answer(201, double.rulesets[-1])


def _list_environments(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    return _counted(double, request, "environments", list(double.environments.values()))


def _set_environment(double: GitHubDouble, actor: Actor, request: Request, name: str) -> Answer:
    policy = (request.body or {}).get("deployment_branch_policy")
    if policy and policy["protected_branches"] == policy["custom_branch_policies"]:
        return Answer(422, _error(422, "protected_branches and custom_branch_policies cannot have the same value"))
    double.environments[name] = {"name": name, "deployment_branch_policy": policy, "protection_rules": []}
    return Answer(200, double.environments[name])


def _list_deploying(double: GitHubDouble, actor: Actor, request: Request, name: str) -> Answer:
    rows = [{"id": number, "name": ref} for number, ref in enumerate(double.deploying_refs.get(name, []))]
    return _counted(double, request, "branch_policies", rows)


def _add_deploying(double: GitHubDouble, actor: Actor, request: Request, name: str) -> Answer:
    policy = double.environments.get(name, {}).get("deployment_branch_policy")
    if not policy or not policy["custom_branch_policies"]:
        return Answer(404, _error(404, "Not Found"))
    double.deploying_refs.setdefault(name, []).append(request.body["name"])
    return Answer(200, request.body)


def _list_secrets(double: GitHubDouble, actor: Actor, request: Request, name: str) -> Answer:
    if name not in double.environments:
        return Answer(404, _error(404, "Not Found"))
    return _counted(double, request, "secrets", [{"name": secret} for secret in double.secrets.get(name, [])])


def _list_variables(double: GitHubDouble, actor: Actor, request: Request, name: str = "") -> Answer:
    if name and name not in double.environments:
        return Answer(404, _error(404, "Not Found"))
    rows = [{"name": key, "value": value} for key, value in double.variables.get(name, {}).items()]
    return _counted(double, request, "variables", rows)


def _list_runners(double: GitHubDouble, actor: Actor, request: Request) -> Answer:
    return _counted(double, request, "runners", double.runners)


def _counted(double: GitHubDouble, request: Request, key: str, rows: list[dict[str, Any]]) -> Answer:
    page = _page(double, request, rows)
    return Answer(200, {"total_count": len(rows), key: page.content}, page.headers)


def _of_admins(route: Callable[..., Answer]) -> Callable[..., Answer]:
    def answer(double: GitHubDouble, actor: Actor, request: Request, *found: str) -> Answer:
        if not actor.admin:
            return Answer(403, _error(403, "Resource not accessible by integration"))
        return route(double, actor, request, *found)

    return answer


_REPOS = f"/api/v3/repos/{REPOSITORY}"
_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("POST", "/api/graphql", _viewer),
    ("GET", "/api/v3/user", _user),
    ("GET", r"/api/v3/users/([^/]+)", _account),
    ("GET", rf"{_REPOS}/issues/(\d+)/comments", _list_comments),
    ("POST", rf"{_REPOS}/issues/(\d+)/comments", _add_comment),
    ("PATCH", rf"{_REPOS}/issues/comments/(\d+)", _edit_comment),
    ("POST", rf"{_REPOS}/statuses/([0-9a-f]+)", _set_status),
    ("GET", rf"{_REPOS}/actions/runs/(\d+)/approvals", _list_reviews),
    ("GET", rf"{_REPOS}/actions/workflows/([\w.-]+)/runs", _list_runs),
    ("GET", rf"{_REPOS}/actions/runs/(\d+)/jobs", _list_jobs),
    ("GET", _REPOS, _repository),
    ("GET", rf"{_REPOS}/rules/branches/([^/]+)", _branch_rules),
    ("GET", rf"{_REPOS}/branches/([^/]+)", _branch),
    ("GET", rf"{_REPOS}/rulesets", _list_rulesets),
    ("GET", rf"{_REPOS}/rulesets/(\d+)", _ruleset),
    ("POST", rf"{_REPOS}/rulesets", _of_admins(_add_ruleset)),
    ("GET", rf"{_REPOS}/environments", _list_environments),
    ("PUT", rf"{_REPOS}/environments/([^/]+)", _of_admins(_set_environment)),
    ("GET", rf"{_REPOS}/environments/([^/]+)/deployment-branch-policies", _list_deploying),
    ("POST", rf"{_REPOS}/environments/([^/]+)/deployment-branch-policies", _of_admins(_add_deploying)),
    ("GET", rf"{_REPOS}/environments/([^/]+)/secrets", _of_admins(_list_secrets)),
    ("GET", rf"{_REPOS}/environments/([^/]+)/variables", _of_admins(_list_variables)),
    ("GET", rf"{_REPOS}/actions/variables", _of_admins(_list_variables)),
    ("GET", rf"{_REPOS}/actions/runners", _of_admins(_list_runners)),
]


class _Handler(BaseHTTPRequestHandler):
    double: GitHubDouble
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer's body waits for the delayed acknowledgement of its head

    def handle_one_method(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, address.path, query, headers, json.loads(raw) if raw else None)
        self.double.requests.append(request)
        fault = self._fault(request)
        if fault is None or fault.done:
            answer = self.double.answer(request)
        if fault is None:
            self._send(answer, None)
        elif fault.drop:
            self.close_connection = True
        else:
            self._send(fault.answer, fault.text)

    do_GET = do_POST = do_PATCH = do_PUT = handle_one_method

    def _fault(self, request: Request) -> Fault | None:
        meant = (
            fault
            for fault in self.double.faults
            if fault.method in ("", request.method) and request.path.endswith(fault.path)
        )
        fault = next(meant, None)
        if fault is not None:
            self.double.faults.remove(fault)
        return fault

    def _send(self, answer: Answer, text: str | None) -> None:
        body = (json.dumps(answer.content) if text is None else text).encode()
        limits = {"limit": 1000, "remaining": 990, "used": 10, "reset": int(time.time()) + 3600}
        headers = {f"x-ratelimit-{name}": str(value) for name, value in limits.items()}
        headers |= {"content-type": "application/json; charset=utf-8", "x-ratelimit-resource": "core"}
        headers |= answer.headers | {"content-length": str(len(body))}
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: stderr is the tests'."""


def job(
    double: GitHubDouble,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    event: str = "pull_request",
    token: str = "ghs_write",  # noqa: S107
) -> None:
    """Set the environment and write the event's file as GitHub Actions does for a job."""
    events = {
        "pull_request": {"action": "opened", "number": 42, "pull_request": PULL},
        "push": {"ref": "refs/heads/main", "after": HEAD, "head_commit": {"id": HEAD}},
    }
    path = folder / "event.json"
    path.write_text(json.dumps(events[event]))
    variables = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTOR": "ada",
        "GITHUB_API_URL": f"{double.url}/api/v3",
        "GITHUB_EVENT_NAME": event,
        "GITHUB_EVENT_PATH": str(path),
        "GITHUB_GRAPHQL_URL": f"{double.url}/api/graphql",
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_RUN_ID": "777",
        "GITHUB_SERVER_URL": double.url,
        "GITHUB_SHA": MERGE,
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_TOKEN": token,
    }
    for name in ("GH_TOKEN", "REPO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
