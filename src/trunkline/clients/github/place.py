"""Which repository on which GitHub this clone belongs to, inside of GitHub Actions and outside."""

import os
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from trunkline.errors import Error

# git@host:owner/name, which is no URL.
_SCP = re.compile(r"^(?:[\w.-]+@)?([\w.-]+):(?!//)(.+)$")


class Place(NamedTuple):
    """A repository's addresses.

    Attributes:
        api: address of the REST API.
        server: address of the pages.
        repository: ``owner/name``.
    """

    api: str
    server: str
    repository: str

    @property
    def page(self) -> str:
        """The repository's page."""
        return f"{self.server}/{self.repository}"


def place(remote: str | None) -> Place:
    """Tell it from what GitHub Actions sets, and else from the address of the Git remote.

    Raises:
        Error: neither names a repository, or it is on a server that is not known to be a GitHub.
    """
    api, repository = os.environ.get("GITHUB_API_URL"), os.environ.get("GITHUB_REPOSITORY")
    if api and repository:
        return Place(api.rstrip("/"), os.environ.get("GITHUB_SERVER_URL", "https://github.com"), repository)
    host, path = _parts(remote or "")
    names = path.strip("/").removesuffix(".git")
    if not host or not re.fullmatch(r"[\w.-]+/[\w.-]+", names):
        hint = f"run `git remote {'set-url' if remote else 'add'} origin https://github.com/OWNER/NAME`"
        raise Error(f"origin names no repository on GitHub: {without_user(remote or 'none')}", hint)
    if host not in ("github.com", os.environ.get("GH_HOST")) and not host.endswith(".ghe.com"):
        # A token of GitHub's is for nobody else; `gh` takes the same variable for an own server.
        problem = f"origin is on {without_user(host)}, which is not known to be GitHub's"
        raise Error(problem, f"if it is a GitHub Enterprise Server: GH_HOST={host} trunkline doctor")
    return Place(_api(host), f"https://{host}", names)


def token() -> str | None:
    """The token in the environment, under the names that workflows and `gh` use; None: there is none."""
    found = (os.environ.get(name, "").strip() for name in ("GITHUB_TOKEN", "GH_TOKEN"))
    return next((value for value in found if value), None)


def _parts(address: str) -> tuple[str, str]:
    if "://" in address:
        parts = urlsplit(address)
        return (parts.hostname or "", parts.path) if parts.scheme in ("https", "http", "ssh", "git") else ("", "")
    found = _SCP.match(address)
    return (found[1], found[2]) if found else ("", "")


def _api(host: str) -> str:
    if host == "github.com":
        return "https://api.github.com"
    return f"https://api.{host}" if host.endswith(".ghe.com") else f"https://{host}/api/v3"


def without_user(address: str) -> str:
    """The address without what may be a token in it, as in ``https://user:token@host``."""
    return re.sub(r"//[^/@]*@", "//", address)
