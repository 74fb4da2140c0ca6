"""Up-samplers, down-samplers and the token-to-image decoder as graphs."""

import torch
from torch import Tensor, nn

from mulo_sd.reference.latent import LatentScaler
from mulo_sd.reference.scaling import down_sample, up_sample
from mulo_sd.reference.settings import DownSampler, UpSampler
from mulo_sd.reference.tokenizer import ImageTokenizer


class UpSamplerGraph(nn.Module):
    """U_r: low_tokens Int[rows, w] -> high_tokens Int[rows * r, w * r] (SCALE-1)."""

    def __init__(self, by: ImageTokenizer | LatentScaler, scale_ratio: int, up_sampler: UpSampler) -> None:
        super().__init__()
        self.by, self.scale_ratio, self.up_sampler = by, scale_ratio, up_sampler

    def forward(self, low_tokens: Tensor) -> Tensor:
        """Up-sample all rows known so far."""
        if isinstance(self.by, LatentScaler):
            return self.by.tokens_from_tokens(low_tokens)
        return up_sample(self.by, low_tokens, self.scale_ratio, self.up_sampler)


class DownSamplerGraph(nn.Module):
    """D_r: high_tokens Int[rows * r, W] -> low_tokens Int[rows, W / r] (SCALE-2)."""

    def __init__(self, by: ImageTokenizer | LatentScaler, scale_ratio: int, down_sampler: DownSampler) -> None:
        super().__init__()
        self.by, self.scale_ratio, self.down_sampler = by, scale_ratio, down_sampler

    def forward(self, high_tokens: Tensor) -> Tensor:
        """Down-sample verified rows."""
        if isinstance(self.by, LatentScaler):
            return self.by.tokens_from_tokens(high_tokens)
        return down_sample(self.by, high_tokens, self.scale_ratio, self.down_sampler)


class DecoderGraph(nn.Module):
    """Tokens to pixels: tokens Int[H, W] -> image Float32[H * f, W * f, 3] in 0..255."""

    def __init__(self, tokenizer: ImageTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode an image."""
        image = self.tokenizer.images_from_tokens(tokens[None])[0].float()
        return torch.clamp((image + 1.0) * 127.5, 0.0, 255.0).permute(1, 2, 0)
