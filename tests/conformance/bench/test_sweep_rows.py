"""AR by sweeps of published shapes: passes by declared rates, seconds by floors and by measured passes."""

import pytest

from mulo_sd.conformance.bench.floors import Machine, ModelSize, PassSize, floor_of
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.conformance.bench.sweep_rows import SHARES, WIDTHS, decided_by_sweep, rates_by_distance, sweep_rows

MACHINE = Machine("a machine", 2, {2**20: 1e11, 2**30: 5e10}, {"fp32": 1e11})
MODEL = ModelSize(2, 64, 256, 512)


def measured(fed: int, seconds: float) -> PassRow:
    size = PassSize(2, fed, 100)
    floor = floor_of(MACHINE, MODEL, size, "fp32")
    assert floor is not None
    return PassRow(size, seconds, 3, floor, ())


def test_rates_are_chances() -> None:
    rates = rates_by_distance()
    assert ((rates >= 0) & (rates <= 1)).all()
    assert rates[0] == pytest.approx(0.75)  # 1.75 cells of two are decided


def test_what_a_sweep_decides() -> None:
    assert decided_by_sweep(1, 1.0) == 1
    assert decided_by_sweep(2, 1.0) == pytest.approx(1.75)
    assert decided_by_sweep(64, 0.0) == 1
    assert decided_by_sweep(64, 1.0) == pytest.approx(11.4)
    assert decided_by_sweep(64, 0.5) < 2.0 < decided_by_sweep(64, 1.0)


def test_rows() -> None:
    rows = sweep_rows(MODEL, 256, 8, 2, MACHINE, "fp32", [measured(1, 0.002), measured(256, 0.2)])
    assert [(row.share, row.width) for row in rows] == [(share, width) for share in SHARES for width in WIDTHS]
    one_by_one, widest = rows[0], rows[4]
    assert one_by_one.passes == 257
    assert one_by_one.gain == one_by_one.measured_gain == 1
    assert one_by_one.measured_seconds == pytest.approx(256 * 0.002)
    assert widest.measured_seconds == pytest.approx((widest.passes - 1) * 0.2)
    for share in range(len(SHARES)):
        passes = [row.passes for row in rows[5 * share : 5 * share + 5]]
        assert passes == sorted(passes, reverse=True)


def test_what_is_not_known_is_left_out() -> None:
    assert sweep_rows(MODEL, 256, 8, 2, MACHINE, "bf16", []) == []
    assert {row.measured_seconds for row in sweep_rows(MODEL, 16, 8, 2, MACHINE, "fp32", [])} == {None}
    assert {row.width for row in sweep_rows(MODEL, 16, 8, 2, MACHINE, "fp32", [])} == {1, 4, 16}
