"""Methods at declared tokens a pass: passes by tokens, seconds by floors, measured passes and the rule itself."""

import pytest

from mulo_sd.conformance.bench import method_rows as module
from mulo_sd.conformance.bench.declared import AS_ON_THE_DEMO, MODES, Declared, with_tokens
from mulo_sd.conformance.bench.floors import Machine, ModelSize, PassSize, floor_of
from mulo_sd.conformance.bench.method_rows import method_rows, rule_seconds
from mulo_sd.conformance.bench.passes import PassRow
from mulo_sd.conformance.bench.sweep_rows import SHARES
from mulo_sd.engines import modes

MACHINE = Machine("a machine", 2, {2**20: 1e11, 2**30: 5e10}, {"fp32": 1e11})
MODEL = ModelSize(4, 64, 256, 512)
CHAIN = Declared("eagle", "a chain", 3.0, 5, 4.0, 2)


def measured(fed: int, seconds: float) -> PassRow:
    size = PassSize(2, fed, 100)
    floor = floor_of(MACHINE, MODEL, size, "fp32")
    assert floor is not None
    return PassRow(size, seconds, 3, floor, ())


def floor(model: ModelSize, fed: int) -> float:
    found = floor_of(MACHINE, model, PassSize(2, fed, 8 + 256), "fp32")
    assert found is not None
    return found.seconds


def test_every_method_without_a_row_of_its_own_is_declared() -> None:
    """Those that judge drafts pass by pass; blocks and rounds begin with a coarser grid's draft, which is drawn."""
    speculative = {name for name, mode in modes.MODES.items() if mode.is_speculative}
    assert set(MODES) == speculative - {"specdec", "ssd"}


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "rule_seconds", lambda mode, drafts, vocabulary: 1e-3 * drafts)
    rows = method_rows([CHAIN], MODEL, 256, 8, 2, MACHINE, "fp32", [measured(1, 0.002), measured(5, 0.01)])
    assert [row.share for row in rows] == list(SHARES)
    whole, half, _ = rows
    passes = 256 / 3
    assert whole.passes == pytest.approx(1 + passes)
    assert half.passes == pytest.approx(1 + 256 / 2)
    assert whole.rule_seconds == pytest.approx(passes * 4e-3)
    drafting = 4 * floor(ModelSize(1, 64, 256, 512), 2)
    assert whole.floor_seconds == pytest.approx(passes * (floor(MODEL, 5) + drafting + 4e-3))
    assert whole.measured_seconds == pytest.approx(passes * (0.01 + drafting + 4e-3))
    assert whole.measured_seconds is not None
    assert whole.measured_gain == pytest.approx(256 * 0.002 / whole.measured_seconds)
    assert whole.gain == pytest.approx(256 * floor(MODEL, 1) / whole.floor_seconds)


def test_what_is_not_known_is_left_out() -> None:
    assert method_rows([CHAIN], MODEL, 256, 8, 2, MACHINE, "bf16", []) == []
    assert {row.measured_seconds for row in method_rows([CHAIN], MODEL, 256, 8, 2, MACHINE, "fp32", [])} == {None}


def test_other_tokens_are_declared_by_mode() -> None:
    changed = {item.mode: item.tokens for item in with_tokens(AS_ON_THE_DEMO, {"sjd": 2.3})}
    assert changed["sjd"] == 2.3
    assert changed["pjd"] == next(item.tokens for item in AS_ON_THE_DEMO if item.mode == "pjd")


@pytest.mark.parametrize("mode", MODES)
def test_every_rule_can_be_timed(mode: str) -> None:
    assert 0 < rule_seconds(mode, 3, 40) < 1
