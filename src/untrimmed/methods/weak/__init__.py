"""Methods that learn from the labels of whole videos.

They give every step an activation of each class, pool the steps into scores of the video, and are taught by those.
Segments are runs of steps whose activation lies above thresholds (:mod:`untrimmed.layers.curve_segments`). Each may be
given an enhancer of its features (:mod:`untrimmed.methods.plugins.enhancer`).
"""
