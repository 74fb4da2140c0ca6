"""The models once more, in numpy: a transformer over a dictionary of keys and values, and resizing by matrices."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.reference.models import Models
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Transformer

Array = NDArray[np.float64]


def array(tensor: Tensor) -> Array:
    """Return a tensor's numbers in float64."""
    return tensor.detach().double().numpy()


class DictionaryModel:
    """One row of a batch: a transformer that keeps a key and a value for each (layer, position), as last written.

    It computes everything position by position, from the weights alone (KV-1, KV-2, GRID-2).
    """

    def __init__(self, model: Transformer, prefix: Tensor) -> None:
        """Take the weights and one condition, Int[P, fields]; feed nothing."""
        self.config = model.config
        self.weights: Mapping[str, Array] = {name: array(value) for name, value in model.state_dict().items()}
        self.prefix = prefix.tolist()
        self.key: dict[tuple[int, int], Array] = {}
        self.value: dict[tuple[int, int], Array] = {}
        self.turns: dict[int, NDArray[np.complex128]] = {}  # as they were computed, by position
        self.row_of: dict[int, int] = {}  # positions that queries of one row alone see (METHOD-5)
        self.asking: Mapping[int, int] = {}

    def feed(
        self,
        pairs: Mapping[int, int],
        asking: Mapping[int, int] | None = None,
        drafted: Mapping[int, int] | None = None,
    ) -> dict[int, Array]:
        """Run one pass over {sequence position: token}, any token for a prefix position; return the logits of each.

        With rows side by side, `asking` says for which row a position asks, and `drafted` which row alone sees it.
        """
        self.asking, drafted = asking or {}, drafted or {}
        for position in pairs:
            self.row_of.pop(position, None)
        self.row_of.update(drafted)
        hidden = {position: self._embedding(position, token) for position, token in pairs.items()}
        written = {position for (layer, position) in self.key if layer == 0} | pairs.keys()
        visible = {position: [other for other in written if self._is_seen(position, other)] for position in pairs}
        for layer in range(self.config.layers):
            queries = {position: self._write(layer, position, x) for position, x in hidden.items()}
            hidden = {
                position: self._feed_forward(layer, x + self._attend(layer, queries[position], visible[position]))
                for position, x in hidden.items()
            }
        return {position: self.weights["output.weight"] @ self._norm("norm", x) for position, x in hidden.items()}

    def forget(self, position: int) -> None:
        """Drop what a position left, so that no later pass sees it."""
        for layer in range(self.config.layers):
            del self.key[layer, position], self.value[layer, position]

    def open(self, positions: Iterable[int]) -> None:
        """Let all queries see positions: their tokens are decided."""
        for position in positions:
            self.row_of.pop(position, None)

    def show_zeros(self) -> None:
        """Write zeros to every position that nothing has been written to (MODE-UNMASKED)."""
        nothing = np.zeros((self.config.heads, self.config.head_dim))
        for layer in range(self.config.layers):
            for position in range(self.config.sequence_length):
                self.key.setdefault((layer, position), nothing)
                self.value.setdefault((layer, position), nothing)

    def tree(self, first: int, tokens: Sequence[int], parents: Sequence[int], depths: Sequence[int]) -> list[Array]:
        """Return the logits after each node of a tree whose first nodes stand at a position, and forget the tree."""
        logits = [np.zeros(0)] * len(tokens)

        def feed_behind(parent: int) -> None:
            for node in (node for node, other in enumerate(parents) if other == parent):
                position = first + depths[node]
                logits[node] = self.feed({position: tokens[node]})[position]
                feed_behind(node)
                self.forget(position)

        feed_behind(-1)
        return logits

    def feed_prefix(self) -> dict[int, Array]:
        """Feed the whole condition in one pass."""
        return self.feed(dict.fromkeys(range(self.config.prefix_length), -1))

    def _embedding(self, position: int, token: int) -> Array:
        if position < self.config.prefix_length:
            table = self.weights["cls_embedding.weight"]
            content = sum((table[field] for field in self.prefix[position] if field > 0), np.zeros(self.config.dim))
        else:
            content = self.weights["tok_embeddings.weight"][token]
        result: Array = content + self.weights["abs_pe"][position]
        return result

    def _norm(self, name: str, x: Array) -> Array:
        result: Array = x / math.sqrt(float((x * x).mean()) + self.config.norm_eps) * self.weights[f"{name}.weight"]
        return result

    def _turn(self, position: int) -> NDArray[np.complex128]:
        """Return what turns pairs of channels by the row (first half) and the column (second half) of a position."""
        if position not in self.turns:
            cell = position - self.config.prefix_length
            row, column = divmod(cell, self.config.grid_width) if cell >= 0 else (0, 0)
            quarter = self.config.head_dim // 4
            turns = [self.config.rope_base ** (-index / quarter) for index in range(quarter)]
            angles = np.array([row * turn for turn in turns] + [column * turn for turn in turns])
            cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
            self.turns[position] = cos + 1j * sin.astype(np.float64)
        return self.turns[position]

    def _rotated(self, position: int, heads: Array) -> Array:
        turned: Array = (heads.view(np.complex128) * self._turn(position)).view(np.float64)
        return turned

    def _write(self, layer: int, position: int, x: Array) -> Array:
        """Write a position's key and value; return its query, Float[heads, head_dim]."""
        fused = self.weights[f"layers.{layer}.attention.wqkv.weight"] @ self._norm(f"layers.{layer}.attention_norm", x)
        query, key, value = fused.reshape(3, self.config.heads, self.config.head_dim)
        self.key[layer, position] = self._rotated(position, key)
        self.value[layer, position] = value
        return self._rotated(position, query)

    def _is_seen(self, position: int, written: int) -> bool:
        row = self.row_of.get(written)
        return written <= position and (row is None or self.asking.get(position, row) == row)

    def _attend(self, layer: int, query: Array, visible: Sequence[int]) -> Array:
        # np.array is several times as fast as np.stack, and most of the oracle's time goes here.
        keys = np.array([self.key[layer, other] for other in visible])  # [n, heads, head_dim]
        values = np.array([self.value[layer, other] for other in visible])
        scores = np.einsum("hd,nhd->hn", query, keys) / math.sqrt(self.config.head_dim)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        mixed = np.einsum("hn,nhd->hd", shares, values).reshape(-1)
        result: Array = self.weights[f"layers.{layer}.attention.wo.weight"] @ mixed
        return result

    def _feed_forward(self, layer: int, x: Array) -> Array:
        normed = self._norm(f"layers.{layer}.ffn_norm", x)
        gate = self.weights[f"layers.{layer}.feed_forward.w1.weight"] @ normed
        other = self.weights[f"layers.{layer}.feed_forward.w3.weight"] @ normed
        result: Array = x + self.weights[f"layers.{layer}.feed_forward.w2.weight"] @ (
            gate / (1 + np.exp(-gate)) * other
        )
        return result


def from_scratch(model: Transformer, prefix: Tensor, tokens: Sequence[int]) -> list[Array]:
    """Return the logits of cells 0..len(tokens): prefix and tokens in one pass, nothing cached before."""
    fresh = DictionaryModel(model, prefix)
    first = model.config.prefix_length
    pairs = {**dict.fromkeys(range(first), -1), **{first + cell: token for cell, token in enumerate(tokens)}}
    logits = fresh.feed(pairs)
    return [logits[first - 1 + cell] for cell in range(len(tokens) + 1)]


def _cubic(distance: float, sharpness: float) -> float:
    """Keys' cubic kernel with a = -sharpness."""
    a, x = -sharpness, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _weight(resize_filter: str, distance: float) -> float:
    """Return how much a pixel counts at a distance, in pixels of the smaller image."""
    match resize_filter:
        case "nearest" | "area":
            return float(-0.5 <= distance < 0.5)
        case "bilinear":
            return max(0.0, 1 - abs(distance))
        case "enlarging bicubic":  # torch's sharpness
            return _cubic(distance, 0.75)
        case _:
            return _cubic(distance, 0.5)


def enlarging(size: int, scale: int, resize_filter: str) -> Array:
    """Return the matrix [size * scale, size] of enlargement along one axis; edges are repeated."""
    matrix = np.zeros((size * scale, size))
    kernel = "enlarging bicubic" if resize_filter == "bicubic" else resize_filter
    for row in range(size * scale):
        centre = (row + 0.5) / scale - 0.5
        for tap in range(math.floor(centre) - 2, math.floor(centre) + 4):
            matrix[row, min(max(tap, 0), size - 1)] += _weight(kernel, centre - tap)
    return matrix


def shrinking(size: int, scale: int, resize_filter: str) -> Array:
    """Return the matrix [size / scale, size] of shrinking along one axis: a kernel as wide as `scale` times its own."""
    matrix = np.zeros((size // scale, size))
    for row in range(size // scale):
        centre = (row + 0.5) * scale - 0.5
        for tap in range(math.floor(centre) - 2 * scale - 1, math.floor(centre) + 2 * scale + 2):
            matrix[row, min(max(tap, 0), size - 1)] += _weight(resize_filter, (tap - centre) / scale)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return matrix


def resized(images: Array, scale: int, up: bool, resize_filter: str) -> Array:
    """Resize Float[B, 3, h, w] along both axes, clamped to [-1, 1]."""
    factory = enlarging if up else shrinking
    rows, columns = (factory(size, scale, resize_filter) for size in images.shape[2:])
    result: Array = np.einsum("yh,bchw,xw->bcyx", rows, images, columns)
    return result.clip(-1, 1)


def rescaled_tokens(models: Models, tokens: Tensor, scale: int, up: bool, name: str) -> tuple[NDArray[np.int64], Array]:
    """Return U_r or D_r of Int[h, w], and each token's margin: the nearest code's lead over the second nearest.

    Encoder, decoder and latent networks are the models' own; resizing and the search for the nearest code are done
    here.
    """
    tokenizer = models.tokenizer
    directions = array(tokenizer.codebook)
    assert isinstance(tokenizer, Tokenizer)
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    if name == "latent":
        latent = models.latent_up_samplers[scale] if up else models.latent_down_samplers[scale]
        features = array(latent.features(tokens[None]))[0]
    else:
        dtype = tokenizer.codebook.dtype
        codes = torch.from_numpy(directions[tokens.numpy()]).to(dtype)
        images = array(tokenizer.decoder(codes[None].permute(0, 3, 1, 2))).clip(-1, 1)
        pixels = torch.from_numpy(resized(images, scale, up, name)).to(dtype)
        features = array(tokenizer.encoder(pixels))[0].transpose(1, 2, 0)
        features = features / np.linalg.norm(features, axis=2, keepdims=True)
    distances = np.linalg.norm(features[:, :, None] - directions, axis=3)  # [H, W, V]
    ordered = np.sort(distances, axis=2)
    return distances.argmin(axis=2), ordered[:, :, 1] - ordered[:, :, 0]
