"""Read torch.save's files through weights_only: tensors, plain values, and stand-ins for a list of harmless types."""

import pickle
import re
import threading
import warnings
from pathlib import Path

import torch

from mulo_sd.reference.checkpoints.stand_ins import STAND_INS
from mulo_sd.reference.weights import WeightsError

# How torch names what it refused: "Unsupported global: GLOBAL posix.system was not ..."
REFUSED = re.compile(r"GLOBAL (\S{1,120})")
# What runs a program or reaches files when a pickle calls it; nobody saves such a thing beside weights.
RUNS_CODE = re.compile(
    r"(?:os|posix|nt|sys|subprocess|importlib|runpy|pty|shutil|socket|ctypes|code|pickle|_pickle|webbrowser)\.|"
    # torch leaves `builtins` out of its message
    r"(?:eval|exec|execfile|compile|__import__|(?:_?io\.)?open|print|input|breakpoint)$"
)
_reading = threading.Lock()  # torch keeps one list of allowed types a process


def read_pickle(path: Path, is_zip: bool) -> object:
    """Return what torch.save was given.

    Args:
        path: The file.
        is_zip: As torch.save writes it today: its tensors are mapped, not read.

    Raises:
        WeightsError: it holds types that are not loaded, or is cut off or broken.
    """
    try:
        with _reading, torch.serialization.safe_globals(list(STAND_INS)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle's protocols: what cannot be read is an error below
            if path.suffix == ".safetensors":  # torch goes by this name, whatever the file is
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{path}: {_reason(str(error))}") from None
    except Exception as error:  # torch raises a dozen classes for files that are none
        line = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(f"{path}: expected a whole checkpoint, got: {line}; download it again") from None


def _reason(message: str) -> str:
    """Return what is wrong with a pickle, by torch's message."""
    expected = "expected tensors and plain values, got"
    refused = REFUSED.search(message)
    if refused is None:
        lines = [line.strip() for line in message.splitlines() if "error:" in line.lower()]
        reason = " ".join((lines or [message])[-1].split()).rpartition("rror: ")[2][:120]
        return f"{expected} a pickle that is no plain checkpoint ({reason}); save its state_dict() alone"
    name = refused[1]
    if RUNS_CODE.match(name):
        return f"{expected} a pickle that would run code ({name}); it is not read: do not load it elsewhere"
    return f"{expected} an object of a type that is not loaded: {name}; save the state_dict() alone, or as safetensors"
