"""Figures of how a training went."""

from __future__ import annotations

from untrimmed.report.curves import training_curves


def record(epoch: int, score: float | None) -> dict[str, object]:
    validation = {} if score is None else {"mAP": score}
    return {"epoch": epoch, "train": {"cls": 1.0, "loss": 2.0, "gradient_norm": 9.0}, "validation": validation}


def test_losses_with_the_total_first_and_validation_where_measured() -> None:
    loss, score = training_curves([record(1, None), record(2, 0.5), record(3, 0.25)])
    assert loss.inline.index(">loss<") < loss.inline.index(">cls<")
    assert "gradient_norm" not in loss.inline
    assert "mAP on the validation videos" in score.inline
    assert ">3<" in score.inline
    assert ">1<" not in score.inline


def test_no_validation_no_figure_and_no_records_none() -> None:
    assert len(training_curves([record(1, None)])) == 1
    assert training_curves([]) == ()
