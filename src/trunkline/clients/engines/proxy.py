"""The proxy on the way to a provider, by the variables that other programs go by too."""

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from trunkline.errors import Error


def named(url: str) -> str | None:
    """The proxy that the environment names for an address; None where it is reached directly.

    HTTPS_PROXY or HTTP_PROXY, by the address's scheme, or else ALL_PROXY, unless NO_PROXY names the host; also in
    lower case. Whatever they say, this machine and addresses of private networks are reached directly.

    Raises:
        Error: it is no proxy over HTTP.
    """
    address = urlsplit(url)
    if _is_near(address.hostname or "") or proxy_bypass(address.netloc):
        return None
    proxies = getproxies()
    found = proxies.get(address.scheme) or proxies.get("all")
    if not found:
        return None
    proxy = found if "://" in found else f"http://{found}"
    if not _is_http(proxy):
        # Not what it is: a password may be in it.
        problem = f"the environment names a proxy for {address.netloc} that is none over HTTP"
        raise Error(problem, f"correct {address.scheme.upper()}_PROXY or ALL_PROXY, or name the host in NO_PROXY")
    return proxy


def _is_near(host: str) -> bool:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return found.is_private or found.is_loopback or found.is_link_local


def _is_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
