import numpy as np
import pytest

from mulo_sd.engines.numbers import real_number, seed_number, whole_number
from mulo_sd.engines.settings import SettingsError


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_a_whole_number_is_any_with_an_index(value: object) -> None:
    number = whole_number("batch", value, 1, 8)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize("value", [None, True, np.bool_(True), 3.0, "3", np.array([3]), 0, 9, float("nan")])
def test_anything_else_is_told_in_one_line(value: object) -> None:
    with pytest.raises(SettingsError, match=r"^batch: expected a whole number in 1\.\.8, got [^\n]*$"):
        whole_number("batch", value, 1, 8)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.array(0.5)])
def test_a_real_number_is_any_that_makes_a_float(value: object) -> None:
    number = real_number("deadline", value, 0, 10)
    assert number == 0.5
    assert type(number) is float


@pytest.mark.parametrize("value", [None, False, "0.5", float("nan"), float("inf"), -1, 10**400, np.array([1.0, 2.0])])
def test_no_number_nan_or_infinity_is_told_in_one_line(value: object) -> None:
    with pytest.raises(SettingsError, match=r"^deadline: expected a number in 0\.\.10, got [^\n]*$"):
        real_number("deadline", value, 0, 10)


def test_a_seed_has_64_bits() -> None:
    assert seed_number(np.uint64(2**64 - 1)) == 2**64 - 1
    with pytest.raises(SettingsError, match=r"^seed: expected a whole number in 0\.\."):
        seed_number(-1)
