"""Messages for the user."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrimmed.errors import InputError, UntrimmedError, nearest


def test_an_input_error_is_one_of_ours_and_a_value_error() -> None:
    with pytest.raises(UntrimmedError, match="wrong"):
        raise InputError("wrong")
    assert issubclass(InputError, ValueError)


def test_nearest_suggests_a_close_name_whatever_its_case() -> None:
    assert nearest("TSET", ["test", "validation"]) == "did you mean 'test'? (there are: test, validation)"
    assert nearest("longjump", ["LongJump", "HighJump"]).startswith("did you mean 'LongJump'?")


def test_nearest_lists_the_names_where_none_is_close() -> None:
    assert nearest("xyz", ["test", "validation"]) == "there are: test, validation"


def test_nearest_says_when_there_is_nothing_to_choose_from() -> None:
    assert nearest("anything", []) == "there are none"


def test_nearest_lists_no_more_than_the_limit_but_finds_what_it_does_not_list() -> None:
    names = [f"class{number:03d}" for number in range(100)]
    assert nearest("zzz", names) == f"there are: {', '.join(names[:8])}, ... (100 in all)"
    assert nearest("class99", names, limit=2).startswith("did you mean 'class")
    assert "class000, class001, ... (100 in all)" in nearest("class99", names, limit=2)


@given(st.text(max_size=8), st.lists(st.text(min_size=1, max_size=8), max_size=6))
def test_nearest_always_answers_with_a_name_that_exists(name: str, options: list[str]) -> None:
    answer = nearest(name, options)
    if answer.startswith("did you mean"):
        assert any(answer.startswith(f"did you mean '{option}'?") for option in options)
    elif options:
        assert answer.startswith("there are: ")
    else:
        assert answer == "there are none"
