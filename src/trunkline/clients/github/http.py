"""Requests to GitHub's API: tried again when that helps, paged, and never telling the token.

GitHub's rules for being tried again: docs.github.com, "Best practices for using the REST API".
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import requests
from pydantic import JsonValue

from trunkline import __version__
from trunkline.errors import Error

TRIES = 5
# What one request may wait in all: a job that waits for the next hour's rate limit costs more than one that fails.
PATIENCE = 300.0
PER_PAGE = 100
_MOST_PAGES = 100
_SECONDS = (10.0, 30.0)  # to connect, and between two bytes of an answer
_AFTER_SECONDARY_LIMIT = 60.0  # GitHub's own advice where it does not say how long
_LIMITED = (403, 429)  # the statuses of both rate limits; 403 is a refusal too
_TOKENS = re.compile(r"\b(gh[a-z]_|github_pat_)\w+")

_log = logging.getLogger(__name__)


class Refused(Error):
    """GitHub knows this token and does not let it do that."""


class _Answer(NamedTuple):
    """What came back; ``status`` is None when nothing did, and ``said`` tells why, or what was wrong."""

    status: int | None
    headers: Mapping[str, str]
    content: JsonValue
    said: str


class Api:
    """An HTTP session with one token.

    Raises:
        Error: the token cannot be one.
    """

    def __init__(self, token: str, wait: Callable[[float], None] = time.sleep) -> None:
        if not re.fullmatch(r"[!-~]+", token):
            raise Error("the token holds spaces, line ends or other characters that no token has", "copy it again")
        self._token = token
        self._wait = wait
        self._session = requests.Session()
        self._session.auth = self._sign
        self._session.headers.update(
            {
                "Accept": "application/vnd.github+json",
                "User-Agent": f"trunkline/{__version__}",
                "X-GitHub-Api-Version": "2022-11-28",
            }
        )

    def send(
        self, method: str, url: str, content: JsonValue = None, arrived: Callable[[], JsonValue] | None = None
    ) -> JsonValue:
        """Ask until GitHub decides, and return its answer.

        Args:
            arrived: looks up what an earlier try may have made although its answer was lost; what it finds is
                the answer. Without it a request that must not happen twice could.

        Raises:
            Refused: the token may not do this.
            Error: anything else that is not an answer, and what to do about it.
        """
        return self._ask(method, url, content, arrived).content

    def pages(self, url: str) -> Iterator[JsonValue]:
        """The rows of all pages of a list, asked for as they are needed."""
        for page in range(1, _MOST_PAGES + 1):
            joint = "&" if "?" in url else "?"
            answer = self._ask("GET", f"{url}{joint}per_page={PER_PAGE}&page={page}")
            if not isinstance(answer.content, list):
                raise Error(f"GitHub answered GET {url} without a list", "check GITHUB_API_URL")
            yield from answer.content
            # The link is only looked at, never followed: it could lead the token elsewhere.
            link = answer.headers.get("link")
            if 'rel="next"' not in link if link else len(answer.content) < PER_PAGE:
                return
        raise Error(f"GitHub has more than {_MOST_PAGES * PER_PAGE:,} rows at {url}", "look at that page")

    def rows(self, url: str, key: str) -> Iterator[JsonValue]:
        """The rows of a list that GitHub puts into an object, page by page."""
        joint = "&" if "?" in url else "?"
        for page in range(1, _MOST_PAGES + 1):
            found = self.send("GET", f"{url}{joint}per_page={PER_PAGE}&page={page}")
            rows = found.get(key) if isinstance(found, dict) else None
            if not isinstance(rows, list):
                raise Error(f"GitHub answered GET {url} without {key}", "check GITHUB_API_URL")
            yield from rows
            if len(rows) < PER_PAGE:
                return

    def _ask(
        self, method: str, url: str, content: JsonValue = None, arrived: Callable[[], JsonValue] | None = None
    ) -> _Answer:
        waited, trial = 0.0, 1
        while True:
            answer = self._once(method, url, content)
            if answer.status is not None and answer.status < 300:
                return answer
            pause = _pause(answer, trial)
            if pause is None:
                raise _refusal(f"{method} {url}", answer)
            if trial == TRIES or waited + pause > PATIENCE:
                tried = f"tried {trial} time{'s' * (trial > 1)}"
                raise Error(f"GitHub did not answer {method} {url} ({tried}): {answer.said}", _later(answer, pause))
            _log.info("github  %s; trying again in %.0f s", answer.said, pause)
            self._wait(pause)
            waited, trial = waited + pause, trial + 1
            found = arrived() if arrived is not None and answer.status not in _LIMITED else None
            if found is not None:
                return answer._replace(content=found)

    def _once(self, method: str, url: str, content: JsonValue) -> _Answer:
        try:
            # A redirect would turn a POST into a GET, and GitHub's API has no need of one.
            response = self._session.request(method, url, json=content, timeout=_SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            return _Answer(None, {}, None, self._hide(f"{type(error).__name__}: {error}"))
        try:
            read: JsonValue = response.json()
        except ValueError:
            said = f"{response.status_code} and no JSON: {response.text[:80]!r}"
            # A success that cannot be read is a lost answer: the request may have been done.
            status = response.status_code if response.status_code >= 300 else None
            return _Answer(status, response.headers, None, self._hide(said))
        return _Answer(response.status_code, response.headers, read, self._hide(_said(response.status_code, read)))

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # As `auth`, because a header of that name gives way to an entry in the machine's .netrc.
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _hide(self, text: str) -> str:
        return hide(text, self._token)


def hide(text: str, token: str) -> str:
    """The text as one line of at most 300 characters, without this token and without any other of GitHub's."""
    shown = _TOKENS.sub("***", text.replace(token, "***"))
    return " ".join(shown.split())[:300]


def _said(status: int, content: JsonValue) -> str:
    if not isinstance(content, dict):
        return str(status)
    errors = content.get("errors")
    parts = [content.get("message"), *(errors if isinstance(errors, list) else [])]
    texts = [part.get("message") or part.get("code") if isinstance(part, dict) else part for part in parts]
    return f"{status} " + "; ".join(str(text) for text in texts if text)


def _pause(answer: _Answer, trial: int) -> float | None:
    """Seconds to wait after the n-th try; None when another try cannot help."""
    if answer.status is None or answer.status >= 500:
        return 2.0**trial
    if answer.status not in _LIMITED:
        return None
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    if after.isdecimal():
        return max(1.0, float(after))
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(1.0, float(reset) - time.time())
    if answer.status == 429 or "rate limit" in answer.said.lower():
        return _AFTER_SECONDARY_LIMIT * trial
    return None


def _later(answer: _Answer, pause: float) -> str:
    if answer.status in _LIMITED:
        return f"its rate limit asks for {pause:.0f} s: run the job again later"
    return "look at www.githubstatus.com and at the network, and run the job again"


def _refusal(request: str, answer: _Answer) -> Error:
    problem = f"GitHub refused {request}: {answer.said}"
    if answer.status == 403:
        if request.startswith("GET "):
            return Refused(problem, "give the job the permission to read it, such as `actions: read` for runs")
        permissions = "`pull-requests: write`, `statuses: write` and, for what writes issues, `issues: write`"
        return Refused(problem, f"give the job the permissions {permissions}")
    hints = {
        401: "the token is wrong or has expired; in a workflow: `env: {GITHUB_TOKEN: ${{ github.token }}}`",
        404: "check GITHUB_REPOSITORY, and that the token may read that repository",
        422: "correct what it names",
    }
    return Error(problem, hints.get(answer.status or 0, "check GITHUB_API_URL"))
