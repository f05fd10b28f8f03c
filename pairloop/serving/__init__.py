"""Models that answer people and programs: a server with OpenAI's interface, and two answers side by side.

Who answers how is elsewhere: in `samplers`, and in the servers of vLLM and transformers.
"""

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pairloop.errors import EngineError
from pairloop.samplers import Sampling

BASE = "base"
"""The name that clients ask for iteration 0 by."""


@dataclass(frozen=True)
class Offer:
    """Which models are served."""

    base: Path
    """models/iteration_0, served as `base`."""

    iterations: Mapping[str, Path]
    """Folders of the others by the names that clients ask for: adapters relative to the base, or full checkpoints."""

    dtype: str
    """float32, bfloat16 or float16."""

    sampling: Sampling
    """What holds where a request says nothing else, but for `max_new_tokens`."""

    @property
    def names(self) -> list[str]:
        """What clients can ask for."""
        return [BASE, *self.iterations]


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, so that nobody else takes it while models load; port 0: one that is free.

    Raises:
        EngineError: the port is in use or not allowed, or there is no such address here.
    """
    found = None
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
    except OSError as error:
        if found:
            found.close()
        raise EngineError(_refused(host, port, error)) from None
    return found


def _refused(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use: end what listens there, or take another, as in --port {port + 1}"
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is not for every user: take one from 1024, as in --port 8000"
    reason = error.strerror or os.strerror(error.errno or 0)
    return f"{host} is no address of this machine ({reason}): leave out --host for 127.0.0.1, this machine alone"


def url(listening: socket.socket) -> str:
    """What clients call the base URL."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
