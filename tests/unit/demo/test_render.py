from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from untrimmed.demo.render import compose, draw, frames
from untrimmed.demo.script import Event, Script, Stance, draw_manner
from untrimmed.demo.settings import Difficulty, WorldSettings

CALM = Difficulty(
    restlessness=0, bystander=0, clutter=0, shake=0, light=0, noise=0, near_misses=0, size=0, hesitation=0
)


def scene(kind: str, settings: WorldSettings) -> tuple[Script, float, float]:
    manner = draw_manner(kind, 1.0, np.random.default_rng(0), settings.difficulty)
    script = Script(
        manner.duration + 2.0, (Event(kind, 1.0, manner),), (Stance(0, 0, 0, 0.5),), 1, settings.difficulty.restlessness
    )
    return script, 1.0, 1.0 + manner.duration


def test_in_a_calm_world_the_picture_changes_from_start_to_end_of_the_truth_and_at_no_other_time() -> None:
    settings = WorldSettings(difficulty=CALM)
    for kind in ("bow", "jump", "wave"):
        script, start, end = scene(kind, settings)
        images = list(frames(script, settings, np.random.default_rng(1)))
        assert len(images) == round(script.duration * settings.fps)
        changed = np.array([(a != b).any() for a, b in pairwise(images)])
        shown = (np.arange(len(images)) + 0.5) / float(settings.fps)
        moving = np.flatnonzero(changed)
        assert start < shown[moving[0] + 1] < start + 0.2
        assert end - 0.2 < shown[moving[-1]] < end
        assert (images[0] == images[-1]).all()


def test_same_seed_same_pictures_other_seed_others() -> None:
    settings = WorldSettings()
    script, _, _ = scene("punch", settings)
    one, same, other = (next(frames(script, settings, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert one.shape == (settings.size[1], settings.size[0], 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_nuisances_show() -> None:
    settings = WorldSettings(difficulty=CALM)
    script, _, _ = scene("squat", settings)
    calm = compose(script, settings, np.random.default_rng(3))
    for name, value in (("noise", 8.0), ("shake", 2.0), ("light", 2.0), ("bystander", 1.0)):
        hard = replace(settings, difficulty=replace(CALM, **{name: value}))
        shot = compose(script, hard, np.random.default_rng(3))
        assert np.array_equal(shot.place.canvas, calm.place.canvas)
        assert not np.array_equal(draw(shot, 20), draw(calm, 20)), name
    assert (
        len(
            compose(
                script, replace(settings, difficulty=replace(CALM, bystander=1.0)), np.random.default_rng(3)
            ).figures
        )
        == 2
    )
