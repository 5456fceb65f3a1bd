"""Kinds about connections: the TLS port, the sockets on the hub's host, the lanes, the Hub API."""

from jupyter_hpcsec.audit.events import Count, Event


class ConnectionRefused(Event, frozen=True, kw_only=True, tag="connection.refused"):
    """A connection at the TLS port was refused: in the handshake or after it. ``count`` of them under this rule."""

    count: Count = 1


class SocketRefused(Event, frozen=True, kw_only=True, tag="socket.refused"):
    """A connection to a session's socket on the hub host was refused."""


class LaneOpened(Event, frozen=True, kw_only=True, tag="lane.opened"):
    """A lane of the session was accepted."""


class LaneClosed(Event, frozen=True, kw_only=True, tag="lane.closed"):
    """A lane ended, with its bytes."""

    bytes_from_node: Count = 0
    bytes_to_node: Count = 0


class LaneRefused(Event, frozen=True, kw_only=True, tag="lane.refused"):
    """A lane, or a stream that the node asked for, was refused."""


class HubApiRefused(Event, frozen=True, kw_only=True, tag="hub-api.refused"):
    """A request from the node to the Hub API was refused."""
