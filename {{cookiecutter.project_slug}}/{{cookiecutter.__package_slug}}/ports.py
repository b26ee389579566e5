"""Finds free ports for what `dev` and the tests start."""

import socket


def free_port(wanted: int = 0) -> int:
    """The wanted port of the loopback interface, or another one when somebody listens there."""
    try:
        listener = socket.create_server(("127.0.0.1", wanted))
    except OSError:
        listener = socket.create_server(("127.0.0.1", 0))
    address: tuple[str, int] = listener.getsockname()
    with listener, socket.create_connection(address):
        # Closed at this end first, the port is for a minute given to nobody who does not name it.
        listener.accept()[0].close()
    return address[1]
