"""Videos of faces to behaviour: pictures through a face tracker, MediaPipe's unless another is plugged in.

What is imported here needs the extra `tracking` when it is used.
"""

from .model_file import download_model, find_model
from .reading import TrackingSettings, track_video
from .tracker import Box, FaceTracker, TrackedFace, TrackerScale


__all__ = [
    "Box",
    "FaceTracker",
    "TrackedFace",
    "TrackerScale",
    "TrackingSettings",
    "download_model",
    "find_model",
    "track_video",
]
