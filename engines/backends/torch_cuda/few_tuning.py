"""What may be tuned of passes of few rows; needs no Triton."""

from typing import NamedTuple


class Held(NamedTuple):
    """How much of its weights a program loads before it waits, of a matrix or of a pair: a share."""

    qkv: float = 0.6
    out: float = 1.0
    swiglu: float = 0.2
    down: float = 0.5


class Tuning(NamedTuple):
    """What may be tuned.

    Attributes:
        programs: One on each multiprocessor; 0 chooses their number by the model's sizes and the GPU.
        warps: Of a program.
        splits: Parts that slots are attended over in; 0 takes as many as there are programs for.
        block_s: Slots taken in at once.
        block_head: Outputs of the head made at once.
        held: As above.
        registers: Of a thread, at most; 0 leaves it to the compiler. A program takes half of a multiprocessor's: the
            next one's is there already, and loads.
    """

    programs: int = 0
    warps: int = 8
    splits: int = 0
    block_s: int = 128
    block_head: int = 32
    held: Held = Held()
    registers: int = 128


DEFAULT_TUNING = Tuning()
