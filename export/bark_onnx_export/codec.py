"""EnCodec's decoder as it is exported: codes in, waveform out (Défossez et al. 2022; SEANet, Tagliasacchi et al. 2020).

Weight norm is folded into the weights, and every convolution is causal: position t sees t and what is left of it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bark_onnx.sizes import CodecSize


class CausalConv1d(nn.Conv1d):
    """Convolution with the left context made by reflection, as EnCodec pads."""

    def forward(self, x: Tensor) -> Tensor:
        context = self.dilation[0] * (self.kernel_size[0] - 1)
        if context:
            # What is reflected beyond the end of a short input is zero. `flip` of a slice instead of reflect padding,
            # which has no such rule and would refuse inputs shorter than the context.
            reflected = F.pad(x, (0, context))[..., 1 : context + 1].flip(-1)
            x = torch.cat([reflected, x], dim=-1)
        return super().forward(x)


class CausalConvTranspose1d(nn.ConvTranspose1d):
    """Upsampling by the stride; what it spills to the right of the last input is cut off."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        spill = self.kernel_size[0] - self.stride[0]
        return super().forward(x)[..., :-spill]


class LSTM(nn.LSTM):
    """torch's LSTM; exported as one ONNX LSTM per layer, since torch's own export fixes the length of the sequence."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """[T, B, width] -> [T, B, width], from a zero state."""
        if not torch.compiler.is_exporting():
            return super().forward(x)[0]
        length, batch, width = x.shape
        for layer in range(self.num_layers):
            w, r, b_w, b_r = (_onnx_gates(parameter) for parameter in self.all_weights[layer])
            y = torch.onnx.ops.symbolic(
                "LSTM",
                [x, w[None], r[None], torch.cat([b_w, b_r])[None]],
                attrs={"hidden_size": width},
                dtype=x.dtype,
                shape=(length, 1, batch, width),
            )
            x = y.squeeze(1)
        return x


def _onnx_gates(parameter: Tensor) -> Tensor:
    """torch stacks the gates input, forget, cell, output; ONNX wants input, output, forget, cell."""
    gate = len(parameter) // 4
    return torch.cat([parameter[:gate], parameter[3 * gate :], parameter[gate : 3 * gate]])


class Residual(nn.Module):
    def __init__(self, width: int, dilation: int, size: CodecSize) -> None:
        super().__init__()
        hidden = width // size.compress
        self.conv_1 = CausalConv1d(width, hidden, size.residual_kernel, dilation=dilation)
        self.conv_2 = CausalConv1d(hidden, width, 1)
        self.shortcut = CausalConv1d(width, width, 1) if size.shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.conv_2(F.elu(self.conv_1(F.elu(x))))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """One upsampling stage: half the channels, `ratio` times the length."""

    def __init__(self, width: int, ratio: int, size: CodecSize) -> None:
        super().__init__()
        self.upsample = CausalConvTranspose1d(width, width // 2, 2 * ratio, stride=ratio)
        self.residuals = nn.ModuleList(
            Residual(width // 2, size.dilation_growth**j, size) for j in range(size.residual_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.upsample(F.elu(x))
        for residual in self.residuals:
            x = residual(x)
        return x


class CodecDecoder(nn.Module):
    """Fine codes [codebooks, T] -> waveform [T * product(ratios)]."""

    def __init__(self, size: CodecSize) -> None:
        super().__init__()
        width = size.filters * 2 ** len(size.ratios)
        self.codebooks = nn.Parameter(torch.empty(size.codebooks, size.codebook_size, size.width))
        self.stem = CausalConv1d(size.width, width, size.kernel)
        self.lstm = LSTM(width, width, size.lstm_layers)
        self.stages = nn.ModuleList(Stage(width >> n, ratio, size) for n, ratio in enumerate(size.ratios))
        self.last = CausalConv1d(size.filters, 1, size.last_kernel)

    @classmethod
    def from_tensors(cls, size: CodecSize, tensors: dict[str, Tensor]) -> "CodecDecoder":
        module = cls(size)
        module.load_state_dict(tensors, strict=True)
        return module.eval().requires_grad_(False)

    def forward(self, codes: Tensor) -> Tensor:
        codebooks, codebook_size, width = self.codebooks.shape
        table = self.codebooks.view(codebooks * codebook_size, width)
        offsets = torch.arange(codebooks).unsqueeze(1) * codebook_size
        x = F.embedding(codes + offsets, table).sum(dim=0).T.unsqueeze(0)  # [1, width, T]
        x = self.stem(x)
        sequence = x.permute(2, 0, 1)
        x = (self.lstm(sequence) + sequence).permute(1, 2, 0)
        for stage in self.stages:
            x = stage(x)
        return self.last(F.elu(x))[0, 0]  # type: ignore[no-any-return]
