"""The Virtual Motion Capture protocol (VMC): messages over OSC that move VRM avatars, in VSeeFace, Warudo and others.

A frame is the head's bone, the values of the blendshapes, an `Apply`, and an `OK`. Avatars with "Perfect Sync" know
the 52 by name; plain ones know a few expressions, and `presets` gives them mixtures (`faces.names.PRESETS`).

Unity's axes are left-handed (x to the own right, y up, z ahead), which turns the signs of two parts of a quaternion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ...behaviour import BLENDSHAPE_NAMES
from ...extras import require
from ..motion import FaceMotion, quaternions
from ..names import PRESETS, capitalised, preset_weights


if TYPE_CHECKING:
    from pythonosc.osc_bundle import OscBundle


PORT = 39539
Names = Literal["perfect_sync", "presets"]
Message = tuple[str, tuple[str | float | int, ...]]
# One datagram holds as many messages as fit into a packet of an Ethernet; receivers wait for Apply.
MESSAGES_PER_DATAGRAM = 28
_UNITY = np.array([1.0, -1.0, -1.0, 1.0])


def messages(motion: FaceMotion, names: Names = "perfect_sync") -> list[Message]:
    """The first frame of a motion as OSC messages: address and arguments, in the order to be sent."""
    if names not in ("perfect_sync", "presets"):
        raise ValueError(f"names must be perfect_sync or presets; given: {names!r}.")
    turned = (quaternions(motion.rotation[0].astype(np.float64)) * _UNITY).tolist()
    bone: Message = ("/VMC/Ext/Bone/Pos", ("Head", 0.0, 0.0, 0.0, *turned))
    shown = motion.blendshapes[0]
    if names == "perfect_sync":
        values = dict(zip(map(capitalised, BLENDSHAPE_NAMES), shown.tolist()))
    else:
        values = dict(zip(PRESETS, np.clip(shown @ preset_weights(), 0, 1).tolist()))
    blend: list[Message] = [("/VMC/Ext/Blend/Val", (name, value)) for name, value in values.items()]
    return [bone, *blend, ("/VMC/Ext/Blend/Apply", ()), ("/VMC/Ext/OK", (1,))]


def datagrams(motion: FaceMotion, names: Names = "perfect_sync") -> list[bytes]:
    """The first frame of a motion as OSC bundles, each small enough for one packet of a network.

    Raises:
        ImportError: if python-osc is not installed.
        ValueError: if `names` is unknown.
    """
    require("live", "Messages of VMC")
    all_messages = messages(motion, names)
    parts = range(0, len(all_messages), MESSAGES_PER_DATAGRAM)
    return [_bundle(all_messages[at : at + MESSAGES_PER_DATAGRAM]).dgram for at in parts]


def _bundle(some: list[Message]) -> OscBundle:
    from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
    from pythonosc.osc_message_builder import OscMessageBuilder

    bundle = OscBundleBuilder(IMMEDIATELY)
    for address, arguments in some:
        message = OscMessageBuilder(address=address)
        for argument in arguments:
            message.add_arg(argument)
        bundle.add_content(message.build())
    return bundle.build()
