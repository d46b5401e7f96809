"""Faces in and out of numbers: tracks of other programs to behaviour and back."""

from .tracks import FaceTrack, TrackReport, combine_tracks, read_face_track, write_face_track


__all__ = ["FaceTrack", "TrackReport", "combine_tracks", "read_face_track", "write_face_track"]
