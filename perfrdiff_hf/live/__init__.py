"""Reactions live: from segments that come in bursts to avatars that move smoothly."""
