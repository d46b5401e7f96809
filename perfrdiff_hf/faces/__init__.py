"""Faces in and out of numbers: tracks of other programs to behaviour and back."""

from .tracks import FaceTrack, TrackReport, read_face_track


__all__ = ["FaceTrack", "TrackReport", "read_face_track"]
