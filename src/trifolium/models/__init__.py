"""Models that choose actions and learn."""
