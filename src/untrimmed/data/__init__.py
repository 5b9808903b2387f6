"""From annotations and features to batches: windows, data sets, simulated features."""
