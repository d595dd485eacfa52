"""Starts: what an untrained network begins with, and how the one that ships was trained."""
