"""Generators of proposals: segments that may hold an action of any class, for methods that judge segments."""
