"""Methods that look at every step of a window and learn from segments.

A network maps the features of a window onto levels or curves over its steps. Segments come from anchors or proposals
that stand on a regular grid there, each with scores of its own: no proposals are handed in, and one forward pass gives
all segments of a window.
"""
