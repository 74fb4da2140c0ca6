"""Weights of large graphs beside their ONNX files, each tensor once: graphs of one model share a file."""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import onnx_ir

# A graph with less keeps its weights inside; tensors with less stay inside anyway.
LARGE_GRAPH, LARGE_TENSOR = 64 * 2**20, 1024
# So that a runtime can map the file into memory.
ALIGNMENT = 4096
SUFFIX = ".weights"


class _Stored(NamedTuple):
    file: str
    offset: int
    length: int


class ExternalWeights:
    """The files of weights in one folder of ONNX files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stored: dict[bytes, _Stored] = {}

    def put(self, model: onnx_ir.Model, name: str) -> None:
        """Move a graph's weights into the file `name`.weights, except those that a file holds already.

        Args:
            model: Mutated: its initialisers refer to files afterwards. One with few weights is left as it is.
            name: Of the file, without its ending.
        """
        values = [value for value in model.graph.initializers.values() if value.const_value is not None]
        sizes = {value.name: value.const_value.nbytes for value in values if value.const_value is not None}
        if sum(sizes.values()) < LARGE_GRAPH:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for value in values:
            tensor = value.const_value
            if tensor is not None and tensor.nbytes >= LARGE_TENSOR:
                stored = self._store(tensor, name + SUFFIX)
                value.const_value = onnx_ir.ExternalTensor(
                    stored.file,
                    stored.offset,
                    stored.length,
                    tensor.dtype,
                    shape=onnx_ir.Shape([int(size) for size in tensor.numpy().shape]),
                    name=str(value.name),
                    base_dir=self.folder,
                )

    def _store(self, tensor: onnx_ir.TensorProtocol, file: str) -> _Stored:
        content = tensor.tobytes()
        digest = sha256(content).digest()
        if digest not in self.stored:
            with (self.folder / file).open("ab") as out:
                out.write(bytes(-out.tell() % ALIGNMENT))
                self.stored[digest] = _Stored(file, out.tell(), len(content))
                out.write(content)
        return self.stored[digest]

    def files(self) -> list[Path]:
        """Return the files written."""
        return sorted(self.folder.glob(f"*{SUFFIX}"))
