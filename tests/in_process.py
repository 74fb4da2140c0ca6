"""Commands run in this process, where it is not the process that a test is about: their imports are paid once."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest


class InProcess:
    """Runs commands as `python -m` begins them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def run(self, module: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command, and return its status and what it wrote, as `subprocess.run` does."""
        self.capsys.readouterr()
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [module, *arguments])
            if folder is not None:
                patch.chdir(folder)
            try:
                status: object = importlib.import_module(module).main()
            except SystemExit as stop:
                status = stop.code
        assert isinstance(status, int), status
        return subprocess.CompletedProcess([module, *arguments], status, *self.capsys.readouterr())
