"""Up-sampler, down-sampler and token-to-image decoder as graphs."""

import torch
from torch import Tensor, nn

from reference.scaling import down_sample, up_sample
from reference.tokenizer import Tokenizer


class UpSamplerGraph(nn.Module):
    """U_r: low_tokens Int[rows, w] -> high_tokens Int[rows * r, w * r] (SCALE-1)."""

    def __init__(self, tokenizer: Tokenizer, scale_ratio: int) -> None:
        super().__init__()
        self.tokenizer, self.scale_ratio = tokenizer, scale_ratio

    def forward(self, low_tokens: Tensor) -> Tensor:
        """Up-sample all rows known so far."""
        return up_sample(self.tokenizer, low_tokens, self.scale_ratio)


class DownSamplerGraph(nn.Module):
    """D_r: high_tokens Int[rows * r, W] -> low_tokens Int[rows, W / r] (SCALE-2)."""

    def __init__(self, tokenizer: Tokenizer, scale_ratio: int) -> None:
        super().__init__()
        self.tokenizer, self.scale_ratio = tokenizer, scale_ratio

    def forward(self, high_tokens: Tensor) -> Tensor:
        """Down-sample verified rows."""
        return down_sample(self.tokenizer, high_tokens, self.scale_ratio)


class DecoderGraph(nn.Module):
    """Tokens to pixels: tokens Int[H, W] -> image Float32[H * f, W * f, 3] in 0..255."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode an image."""
        image = self.tokenizer.images_from_tokens(tokens[None])[0].float()
        return torch.clamp((image + 1.0) * 127.5, 0.0, 255.0).permute(1, 2, 0)
