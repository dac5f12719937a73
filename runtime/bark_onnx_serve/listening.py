"""Where the server listens: a name may mean several addresses, such as 127.0.0.1 and ::1 for localhost.

The address :: means all addresses of IPv6 and of IPv4, if the system can listen on both with one socket.
"""

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bark_onnx import BarkError
from bark_onnx.errors import reason

# What the kernel holds of an answer that its reader does not take: by default up to 4 MB for each connection, which is
# minutes of audio. The kernel doubles this figure.
SEND_BUFFER_BYTES = 1 << 17
_ATTEMPTS = 10  # to find a port that is free on all addresses
_ALL_ADDRESSES = "::"
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address of another machine, or no IPv6


@contextmanager
def listening_sockets(host: str, port: int, option: str = "--port") -> Iterator[list[socket.socket]]:
    """Sockets that listen on all addresses of a host that this machine has, until the end of the block.

    Args:
        port: the same on all of them; 0 takes a free one.
        option: the option of the port, for the error.

    Raises BarkError.
    """
    with ExitStack() as stack:
        try:
            sockets = _listen(host, port)
            for listening in sockets:
                stack.enter_context(listening)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # connections inherit it
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that can be no name
            raise BarkError(f"cannot listen on {host}, port {port}: {_advised(error, option)}") from None
        yield sockets


def port_of(sockets: Sequence[socket.socket]) -> int:
    """The port of sockets that were made together."""
    port: int = sockets[0].getsockname()[1]
    return port


def addresses(sockets: Sequence[socket.socket], scheme: str, path: str = "") -> str:
    """Where clients reach the sockets, as a line of the log names it."""
    hosts = [listening.getsockname()[0] for listening in sockets]
    shown = (f"[{host}]" if ":" in host else host for host in hosts)
    return " and ".join(f"{scheme}://{host}:{port_of(sockets)}{path}" for host in shown)


def _advised(error: OSError | UnicodeError, option: str) -> str:
    """What is wrong, and which option to change. Python's own text of such an error repeats the address."""
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"another program uses this port; take another {option}"
    if isinstance(error, PermissionError):
        return f"only the administrator may use this port; take another {option}"
    if isinstance(error, OSError) and error.errno in _NOT_HERE:
        return "this machine has no such address; take another --host"
    if isinstance(error, UnicodeError | socket.gaierror):
        return f"{reason(error)}; take another --host"
    return reason(error)


def _listen(host: str, port: int) -> list[socket.socket]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    places = [*dict.fromkeys((family, address) for family, _, _, _, address in found)]
    for left in reversed(range(_ATTEMPTS)):
        try:
            return _listen_on(places, port)
        except OSError as error:
            # A port that is free on one address may be in use on another one.
            if port or error.errno != errno.EADDRINUSE or not left:
                raise
    raise AssertionError("unreachable")


def _listen_on(places: Sequence[tuple[int, tuple[object, ...]]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    missing: list[OSError] = []
    # A name may mean :: and 0.0.0.0. Then each has a socket of its own.
    both = [host for _, (host, *_) in places] == [_ALL_ADDRESSES] and socket.has_dualstack_ipv6()
    try:
        for family, (host, _, *scope) in places:
            try:
                address = (host, port, *scope)
                sockets.append(socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=both))
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing.append(error)
            else:
                port = port_of(sockets)
        if not sockets:
            raise missing[0]
    except BaseException:
        for listening in sockets:
            listening.close()
        raise
    return sockets
