"""Which of a machine's addresses and network interfaces the other machines can reach."""

from __future__ import annotations

import socket
import struct


def address_towards(endpoint: str) -> str:
    """The address of this machine from which it reaches "host:port". Nothing is sent.

    The name of the machine is no help: it often means 127.0.0.1. Raises OSError if there is no way there.
    """
    host, _, port = endpoint.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))
        address: str = probe.getsockname()[0]
        return address


def interface_with(address: str) -> str | None:
    """The network interface that has this address, e.g. "eth0"; None if that cannot be found out here."""
    try:
        import fcntl
    except ImportError:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name[:15].encode())
            try:
                answer = fcntl.ioctl(probe.fileno(), 0x8915, request)  # SIOCGIFADDR
            except OSError:
                continue  # this one has no address
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None
