"""Files to types and back.

:func:`read_annotations` and :func:`read_detections` tell the format from the content, :func:`write_annotations` and
:func:`write_detections` from the name; the modules below hold one format each.
"""

from untrimmed.formats.catalog import (
    FORMATS,
    Content,
    check_results_target,
    output_format,
    read,
    read_annotations,
    read_detections,
    write_annotations,
    write_detections,
)

__all__ = [
    "FORMATS",
    "Content",
    "check_results_target",
    "output_format",
    "read",
    "read_annotations",
    "read_detections",
    "write_annotations",
    "write_detections",
]
