"""Where a request came from, by the word of proxies that are trusted and of nobody else. Pure.

Whoever connects to a session's socket is the site's proxy, by the kernel's word. It writes the address of who connected
to *it* at the end of ``X-Forwarded-For``; what stands before that, its peer has written. So the list is read from its
end: past the addresses of the site's own proxies, up to the first that is none of them.
"""

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ADDRESSES = 32
"""Addresses of a list that are looked at."""


def source_of(forwarded: bytes, trusted: Sequence[Network]) -> str:
    """The address; empty where the list says nothing that could be believed."""
    found = ""
    for entry in reversed(forwarded.decode("latin-1").split(",")[-ADDRESSES:]):
        try:
            address = ipaddress.ip_address(entry.strip())
        except ValueError:
            break
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        found = str(address)
        if not any(address.version == network.version and address in network for network in trusted):
            break
    return found
