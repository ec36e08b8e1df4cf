"""Resolve: names of hosts, looked up in an OS thread while green threads go on.

The system's own resolver is asked, which knows the hosts file, search domains and caches, and can only be called and waited for.

    getaddrinfo("10.0.0.1")  ------------------------------------> (address)     a number needs nobody
    getaddrinfo("localhost") --> execute --> an OS thread asks --> (address)

In:  what the functions of the same names in `socket` take. Out: what they return and raise. Never: a look-up in the hub's thread.

Different from Eventlet: there is no resolver of our own, so nothing of dnspython is needed and nothing answers differently.
"""

from __future__ import annotations

import socket as _standard
from typing import Any

from greentrace.hub.threads import execute


def is_numeric(host: Any) -> bool:
    """Whether the host is an address already, or one of the words that stand for one."""
    if not host or host == "<broadcast>":
        return True
    for family in (_standard.AF_INET, _standard.AF_INET6):
        try:
            _standard.inet_pton(family, host.decode() if isinstance(host, bytes) else host.partition("%")[0])
            return True
        except (OSError, ValueError):
            continue
    return False


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    """Look a host and a port up."""
    if is_numeric(host):
        return _standard.getaddrinfo(host, port, family, type, proto, flags)
    return execute(_standard.getaddrinfo, host, port, family, type, proto, flags)


def gethostbyname(hostname: str) -> Any:
    """Return the first IPv4 address of a name."""
    if is_numeric(hostname):
        return _standard.gethostbyname(hostname)
    return execute(_standard.gethostbyname, hostname)


def gethostbyname_ex(hostname: str) -> Any:
    """Return (name, aliases, IPv4 addresses)."""
    return execute(_standard.gethostbyname_ex, hostname)


def gethostbyaddr(ip_address: str) -> Any:
    """Return (name, aliases, addresses) of an address."""
    return execute(_standard.gethostbyaddr, ip_address)


def getnameinfo(sockaddr: Any, flags: int) -> Any:
    """Return (host, port) of an address."""
    return execute(_standard.getnameinfo, sockaddr, flags)


def getfqdn(name: str = "") -> str:
    """Return the full name of a host."""
    found: str = execute(_standard.getfqdn, name)
    return found
