"""Random checkpoints are called as the real ones are, and never take their place."""

import sys
from pathlib import Path

import pytest

from mulo_sd.export import full_size


@pytest.mark.parametrize(
    ("family", "name"), [("llamagen", "t2i_XL_stage2_512.pt"), ("llamagen", "vq_ds16_t2i.pt"), ("tar", "ta_tok.pth")]
)
def test_a_real_checkpoint_stays(
    family: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("several gigabytes")
    monkeypatch.setattr(sys, "argv", ["full_size", "--family", family, "--out", str(tmp_path)])
    assert full_size.main() == 2
    assert capsys.readouterr().err == (
        f"error: {tmp_path / name}: expected no file of this name yet, found one; give another --out\n"
    )
    assert [path.read_text() for path in tmp_path.iterdir()] == ["several gigabytes"]
