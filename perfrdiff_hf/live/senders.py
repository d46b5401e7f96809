"""Avatars over the network: a face's motion as datagrams of Live Link Face, VMC or JSON."""

from __future__ import annotations

import socket
from collections.abc import Callable

from ..extras import require
from ..faces.formats import arkit_json, live_link_udp, vmc
from ..faces.motion import FaceMotion


LOOPBACK = "127.0.0.1"
JSON_PORT = 39600
Encoder = Callable[[FaceMotion, int, int], list[bytes]]
# How each protocol writes one frame, given its number and frames per second, and to which port it goes by default.
PROTOCOLS: dict[str, tuple[Encoder, int]] = {
    "live_link": (lambda motion, frame, fps: [live_link_udp.encode(motion, frame, fps)], live_link_udp.PORT),
    "vmc": (lambda motion, frame, fps: vmc.datagrams(motion), vmc.PORT),
    "vmc_presets": (lambda motion, frame, fps: vmc.datagrams(motion, "presets"), vmc.PORT),
    "arkit_json": (lambda motion, frame, fps: [arkit_json.encode_frame(motion, frame / fps).encode()], JSON_PORT),
}


class Sender:
    """Sends frames of a motion to one address.

    Args:
        protocol: "live_link" (Unreal's Live Link and others), "vmc" (VRM avatars with Perfect Sync), "vmc_presets"
            (VRM avatars without) or "arkit_json" (one object of `faces.formats.arkit_json` per datagram).
        host: where the avatar is; by default on this machine.
        port: None: the one that the protocol's receivers listen to.

    Raises:
        ValueError: if there is no such protocol or port.
        ImportError: if python-osc is missing for VMC.
        OSError: if the host is unknown.
    """

    def __init__(self, protocol: str, host: str = LOOPBACK, port: int | None = None):
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}; given: {protocol!r}.")
        if protocol.startswith("vmc"):
            require("live", "Messages of VMC")
        self._encode, default = PROTOCOLS[protocol]
        port = default if port is None else port
        if not 0 < port < 65536:
            raise ValueError(f"port must lie in 1 ... 65535; it is {port}.")
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self.address: tuple = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)

    def send(self, motion: FaceMotion, frame: int, fps: int) -> None:
        """Send the first frame of a motion; nobody needs to listen.

        Args:
            motion: at least one frame.
            frame: its number, counted at `fps`.
            fps: frames per second.
        """
        for datagram in self._encode(motion, frame, fps):
            self._socket.sendto(datagram, self.address)

    def close(self) -> None:
        """End sending."""
        self._socket.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
