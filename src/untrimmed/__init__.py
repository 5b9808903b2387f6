"""untrimmed: find when actions start and end, and which they are, in long untrimmed videos."""

__version__ = "0.1.0"
