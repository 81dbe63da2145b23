"""Names of variants."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaclip import keys


def test_the_examples_are_true():
    assert doctest.testmod(keys).attempted == 2
    assert doctest.testmod(keys).failed == 0


@given(
    arm=st.from_regex(r"[\w.-]+", fullmatch=True),
    axis=st.from_regex(r"[a-z_]+", fullmatch=True),
    value=st.text(),
)
def test_a_variant_is_read_as_it_was_named(arm, axis, value):
    assert keys.split_variant(keys.variant_name(arm, axis, value)) == (arm, axis, value)


@pytest.mark.parametrize("arm", ["B3", "K_map_only", "mine.2"])
def test_an_arm_is_no_variant(arm):
    assert keys.split_variant(arm) == (arm, None, None)
