"""The page that `generate --viewer` writes: all of one decode, and what is recorded only where it is asked for."""

import base64
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mulo_sd.engines import generate
from mulo_sd.engines.commands import replay
from mulo_sd.engines.commands.replay import Replay

SEED = 2**64 - 1


@pytest.mark.parametrize("mode", ["ar", "parallel"])
def test_the_page_holds_the_decode(
    mode: str, minimal_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No more frames than are allowed; the last is the image that was written, and its passes are those printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replay, "MAX_FRAMES", 12)
    outputs = ["--out", "a.png", "--viewer", "v.html", "--mode", mode, "--seed", str(SEED)]
    monkeypatch.setattr(
        sys, "argv", ["generate", "a red star", *outputs, "--bundle", str(minimal_bundle), "--threads", "1"]
    )
    assert generate.main() == 0
    html = Path("v.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="decode">(.*?)</script>', html)
    assert found is not None
    decode = json.loads(found[1])
    assert (decode["prompt"], decode["seed"], decode["mode"]) == ("a red star", str(SEED), mode)
    assert (decode["size"], decode["settings"]["mode"]) == ("16 x 16", mode)
    assert len(decode["frames"]) == 12
    last = decode["frames"][-1]
    assert last["title"] == "The result"
    with (
        Image.open("a.png") as written,
        Image.open(io.BytesIO(base64.b64decode(last["image"].partition(",")[2]))) as shown,
    ):
        assert np.array_equal(np.asarray(written), np.asarray(shown))
    assert f"target {last['passes']['target']}, drafter {decode['stats']['nfe_drafter']}\n" in capsys.readouterr().out


def test_nothing_is_recorded_where_the_page_is_not_wanted() -> None:
    assert Replay(False).hooks == {}
    assert set(Replay(True).hooks) == {"watch", "step"}
