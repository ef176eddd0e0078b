"""Addresses of servers: https, or http to this machine and its private network."""

import re
from typing import Final
from urllib.parse import urlsplit

_LOCAL_NAMES: Final = re.compile(
    r"[a-z][a-z0-9_-]*|([a-z0-9_.-]+\.)?(localhost|local|internal)", re.IGNORECASE
)
"""Names without a dot, as of containers, and names that no public server has.

A name of digits only can be a public address, and other letters can stand for a dot.
"""


def wrong_endpoint(address: str) -> str:
    """What is wrong with the address of a server; "" if nothing is."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not address.isprintable():
        return "must be an address such as http://localhost:8000/v1"
    if parts.username is not None or parts.query or parts.fragment:
        return "must be an address without a password, a query and a fragment"
    if parts.scheme == "http" and not is_local(host):
        return "must begin with https, because the host is neither this machine nor private"
    return ""


def is_local(host: str) -> bool:
    """Whether the host is this machine or on a private network."""
    from ipaddress import ip_address  # not at the start: specs of files need no addresses

    try:
        address = ip_address(host)
    except ValueError:
        return _LOCAL_NAMES.fullmatch(host) is not None
    return (getattr(address, "ipv4_mapped", None) or address).is_private


def api_root(endpoint: str) -> str:
    """The address of the interface: `endpoint`, with /v1 unless it ends with a version."""
    root = endpoint.rstrip("/")
    return root if re.search(r"/v\d+\w*$", root) else f"{root}/v1"
