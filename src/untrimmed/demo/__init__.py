"""A small world rendered by code, to try everything on: videos, their truth, and yardsticks for results on it."""
