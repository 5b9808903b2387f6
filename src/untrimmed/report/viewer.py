"""One page to look at a detector's work and to mend the labels: video, lanes, curves, errors, corrections, numbers.

The page works from a file, without a server and without any request: data, style and script are inside, and videos
are linked by relative path (or put inside, if asked for). ``templates/viewer`` holds its parts: plain HTML, CSS and ES
modules, put together by :mod:`untrimmed.report.bundle`; :mod:`untrimmed.report.viewer_data` describes the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from untrimmed.report import bundle
from untrimmed.report.page import fragment, page
from untrimmed.report.viewer_data import Content, ResultSet, View, collect, to_json
from untrimmed.types import Annotations

__all__ = ["ResultSet", "View", "render"]

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "media-src 'self' file: data: blob:; connect-src 'self'"
)
"""What a browser may load for the page: nothing but its own parts, the videos, and (when served) its server."""


def render(
    results: Sequence[ResultSet],
    annotations: Annotations | None = None,
    *,
    title: str,
    facts: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    sections: Sequence[str] = (),
    served: bool = False,
    view: View | None = None,
) -> str:
    """The page as text.

    Args:
        results: none, one or two result files; a detection without label is shown under "(no label)".
        annotations: the truth, if there is one. A list ``classes`` among its further keys adds classes that have no
            instance yet.
        title: heading of the page.
        facts: pairs shown as small cards at the top; the second may hold a line break.
        notes: sentences shown under them.
        sections: finished HTML that follows, see :mod:`untrimmed.report.sections`.
        served: offer to save corrections through the server the page comes from.
        view: how they are shown; None for the defaults.

    Raises:
        InputError: for an unknown protocol, a tIoU out of range, or a threshold that is no number.
    """
    view = view or View()
    content = collect(results, annotations, view)
    index = {**content.index, "served": served, "title": title}
    viewer = fragment(
        "viewer/viewer.html",
        facts=[(name, *value.split("\n")) for name, value in facts],
        notes=[*notes, *content.notes],
        scored=index["scored"],
        has_truth=index["has_truth"],
        annotate=view.annotate,
        served=served,
        sets=index["sets"],
        tiou=f"{view.tiou:g}",
        threshold=f"{index['threshold']:.3g}",
        several=len(index["videos"]) > 1,
    )
    return page(
        title, viewer, *sections, _data(content, index), styles=bundle.styles(), script=bundle.script(), policy=POLICY
    )


def _data(content: Content, index: Mapping[str, Any]) -> str:
    """What the page's script reads, as JSON in elements of its own."""
    json = Markup('<script type="application/json" id="{}">{}</script>')
    data = [json.format("index", to_json(index))]
    data += [json.format(f"video-{number}", to_json(block)) for number, block in enumerate(content.blocks)]
    data.append(json.format("annotations", to_json(content.annotations)))
    return "\n".join(data)
