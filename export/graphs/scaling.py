"""Up-samplers, down-samplers and the token-to-image decoder as graphs."""

import torch
from torch import Tensor, nn

from reference.models import Models
from reference.settings import DownSampler, UpSampler
from reference.tokenizer import Tokenizer


class UpSamplerGraph(nn.Module):
    """U_r: low_tokens Int[rows, w] -> high_tokens Int[rows * r, w * r] (SCALE-1)."""

    def __init__(self, models: Models, scale_ratio: int, up_sampler: UpSampler) -> None:
        super().__init__()
        self.models, self.scale_ratio, self.up_sampler = models, scale_ratio, up_sampler
        self.weights = nn.ModuleList([models.tokenizer, *models.latent_up_samplers.values()])

    def forward(self, low_tokens: Tensor) -> Tensor:
        """Up-sample all rows known so far."""
        return self.models.up_sample(self.up_sampler, low_tokens, self.scale_ratio)


class DownSamplerGraph(nn.Module):
    """D_r: high_tokens Int[rows * r, W] -> low_tokens Int[rows, W / r] (SCALE-2)."""

    def __init__(self, models: Models, scale_ratio: int, down_sampler: DownSampler) -> None:
        super().__init__()
        self.models, self.scale_ratio, self.down_sampler = models, scale_ratio, down_sampler
        self.weights = nn.ModuleList([models.tokenizer, *models.latent_down_samplers.values()])

    def forward(self, high_tokens: Tensor) -> Tensor:
        """Down-sample verified rows."""
        return self.models.down_sample(self.down_sampler, high_tokens, self.scale_ratio)


class DecoderGraph(nn.Module):
    """Tokens to pixels: tokens Int[H, W] -> image Float32[H * f, W * f, 3] in 0..255."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

    def forward(self, tokens: Tensor) -> Tensor:
        """Decode an image."""
        image = self.tokenizer.images_from_tokens(tokens[None])[0].float()
        return torch.clamp((image + 1.0) * 127.5, 0.0, 255.0).permute(1, 2, 0)
