"""Detections and truth in, numbers out; pure functions, frozen results, no torch."""
