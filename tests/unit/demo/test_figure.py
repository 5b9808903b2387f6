from __future__ import annotations

import numpy as np
import pytest

from untrimmed.demo import figure
from untrimmed.demo.figure import ARM, JOINT, SHIN, THIGH, TRUNK, Array, Body, joints, rest, sketch

LOOKS = Body(1.0, (224, 172, 134), (60, 40, 30), (200, 60, 50), (50, 60, 90), (40, 40, 40), sleeves=True)


def poses(count: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rest(count) + rng.normal(0, 0.4, (count, figure.WIDTH))


def distance(places: Array, one: str, other: str) -> Array:
    return np.linalg.norm(places[:, JOINT[one]] - places[:, JOINT[other]], axis=1)


@pytest.mark.parametrize("side", ["left", "right"])
def test_bones_keep_their_lengths_in_any_pose(side: str) -> None:
    places = joints(poses(200))
    for one, other, length in [
        (f"shoulder_{side}", f"elbow_{side}", ARM / 2),
        (f"elbow_{side}", f"hand_{side}", ARM / 2),
        (f"hip_{side}", f"knee_{side}", THIGH),
        (f"knee_{side}", f"ankle_{side}", SHIN),
        ("pelvis", "neck", TRUNK),
    ]:
        assert distance(places, one, other) == pytest.approx(length, abs=2e-3)


def test_standing_figure_is_about_one_height_tall_with_its_feet_on_the_ground_and_its_head_on_top() -> None:
    places = joints(rest(1))[0]
    assert places[JOINT["head"], 1] + figure.HEAD == pytest.approx(1.0, abs=0.03)
    assert 0 < places[JOINT["ankle_left"], 1] < 0.06
    assert places[JOINT["hand_left"], 0] > 0 > places[JOINT["hand_right"], 0]


def test_positive_angles_bend_forward_and_turn_to_the_right_of_the_picture() -> None:
    track = rest(3)
    track[1, figure.PITCH] = 0.8
    track[2, figure.YAW] = 0.8
    still, bent, turned = joints(track)
    assert bent[JOINT["neck"], 2] > still[JOINT["neck"], 2] + 0.1
    assert bent[JOINT["neck"], 1] < still[JOINT["neck"], 1]
    assert turned[JOINT["toe_left"], 0] - turned[JOINT["ankle_left"], 0] > 0.03


def test_hand_goes_where_it_is_sent_while_the_arm_is_long_enough() -> None:
    track = rest(2)
    track[0, figure.HANDS[0]] = (0.3, 0.4, 0.5)
    track[1, figure.HANDS[0]] = (0.0, 0.0, 5.0)
    places = joints(track)
    reach = places[:, JOINT["hand_left"]] - places[:, JOINT["shoulder_left"]]
    assert reach[0] == pytest.approx(np.array([0.3, 0.4, 0.5]) * ARM)
    assert reach[1] == pytest.approx((0, 0, ARM), abs=1e-3)


def test_sketch_draws_near_limbs_last_and_hides_the_eyes_of_a_figure_seen_from_behind() -> None:
    track = rest(2)
    track[:, figure.HANDS[0]] = (0.1, 0.0, 0.9)
    track[1, figure.YAW] = np.pi
    views = np.tile(np.array([[1.0, 0, 60], [0, 1.0, 110]]), (2, 1, 1))
    drawing = sketch(joints(track), LOOKS, views, size=90)
    trunk = len(drawing.colours) - 1
    hand = 7
    for frame, in_front in ((0, True), (1, False)):
        order = drawing.order[frame].tolist()
        assert sorted(order) == list(range(trunk + 1))
        assert (order.index(hand) > order.index(trunk)) == in_front
        assert drawing.seen[frame].all() == in_front
        assert drawing.seen[frame].any() == in_front


def test_drawing_paints_inside_the_box_of_the_joints_and_nowhere_else() -> None:
    views = np.array([[[1.0, 0, 60], [0, 1.0, 110]]])
    drawing = sketch(joints(rest(1)), LOOKS, views, size=90)
    image = np.full((130, 120, 3), 255, dtype=np.uint8)
    drawing.draw(image, 0)
    rows, columns = np.nonzero((image != 255).any(axis=2))
    assert 12 < rows.min() < 24
    assert 105 < rows.max() < 120
    assert 25 < columns.min() < columns.max() < 95
    assert (image.reshape(-1, 3) == LOOKS.shirt).all(axis=1).sum() > 100


def test_figure_partly_or_wholly_outside_the_picture_is_clipped() -> None:
    for shift in (-5.0, 500.0):
        views = np.array([[[1.0, 0, shift], [0, 1.0, 40]]])
        image = np.full((60, 60, 3), 255, dtype=np.uint8)
        sketch(joints(rest(1)), LOOKS, views, size=90).draw(image, 0)
        assert ((image != 255).any()) == (shift < 0)
