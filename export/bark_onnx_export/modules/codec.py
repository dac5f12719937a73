"""EnCodec's decoder for export: codes to waveform (Défossez et al. 2022; SEANet, Tagliasacchi et al. 2020).

Weight norm is folded into the weights. Every convolution is causal: the output at position t depends on inputs up to t.
An utterance can therefore be decoded in chunks. What a module needs from the previous chunk is its part of the state,
which is an input and an output of the graph. The same graph decodes a whole utterance as one chunk.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bark_onnx.model.sizes import CodecSize, codec_state


class State:
    """The codec's state during one chunk. Each module, in order, takes its past and appends its present.

    Args:
        fresh: [B] bool, true for rows in which this chunk begins an utterance; their past is ignored.
        past: the tensors of `codec_state`, each with a first dimension for the batch.

    Attributes:
        present: the tensors that the modules have appended: the past of the next chunk.
    """

    def __init__(self, fresh: Tensor, past: Iterable[Tensor]) -> None:
        self.present: list[Tensor] = []
        self._fresh = fresh
        self._past = iter(past)

    def take(self, initial: Tensor | float) -> Tensor:
        """Return the next tensor of the past, with `initial` in fresh rows."""
        past = next(self._past)
        fresh = self._fresh.view(-1, *[1] * (past.dim() - 1))
        return torch.where(fresh, initial, past)

    def append(self, present: Tensor) -> None:
        self.present.append(present)


class CausalConv1d(nn.Conv1d):
    """Convolution of [B, channels, n], padded on the left with the last samples of the previous chunk.

    At the beginning of an utterance the padding is made by reflection, as in EnCodec.
    """

    def forward(self, x: Tensor, state: State) -> Tensor:  # type: ignore[override]
        context = self.dilation[0] * (self.kernel_size[0] - 1)
        if context:
            x = torch.cat([state.take(_reflected(x, context)), x], dim=-1)
            state.append(x[..., -context:])
        return super().forward(x)


def _reflected(x: Tensor, context: int) -> Tensor:
    """Return samples `context` to 1 of x [B, channels, n]; samples beyond the end of a short x are zero.

    EnCodec also extends a short x with zeros before it is reflected. No operator here depends on the length of x: ONNX
    Runtime computes shapes on the CPU, and their results would have to be copied to a GPU.
    """
    extended = F.pad(x[..., 1 : context + 1], (0, context))
    return extended.index_select(-1, torch.arange(context - 1, -1, -1, device=x.device))


class CausalConvTranspose1d(nn.ConvTranspose1d):
    """Upsampling by the stride with a kernel of twice the stride, so that the outputs of neighbouring inputs overlap.

    The last input of the previous chunk, or zero at the beginning of an utterance, is put in front. Of the outputs, the
    first `stride` belong to the previous chunk, and the last `stride` also depend on the next input. `padding` cuts off
    both.
    """

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__(channels, out_channels, 2 * stride, stride=stride, padding=stride)

    def forward(self, x: Tensor, state: State) -> Tensor:  # type: ignore[override]
        last = state.take(0.0)
        state.append(x[..., -1:])
        return super().forward(torch.cat([last, x], dim=-1))


class LSTM(nn.LSTM):
    """torch's LSTM. It is exported as one ONNX LSTM per layer, since torch's own export fixes the sequence length."""

    def forward(self, x: Tensor, state: State) -> Tensor:  # type: ignore[override]
        """[T, B, width] -> [T, B, width]. The initial h and c of a layer are those of the previous chunk, or zero."""
        initial = [(state.take(0.0), state.take(0.0)) for _ in range(self.num_layers)]
        if not torch.compiler.is_exporting():
            h, c = (torch.stack(layers) for layers in zip(*initial, strict=True))
            x, (h, c) = super().forward(x, (h, c))
            for layer in range(self.num_layers):
                state.append(h[layer])
                state.append(c[layer])
            return x
        length, batch, width = x.shape
        for layer, (h, c) in enumerate(initial):
            w, r, b_w, b_r = (_onnx_gates(parameter) for parameter in self.all_weights[layer])
            y, y_h, y_c = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                [x, w[None], r[None], torch.cat([b_w, b_r])[None], None, h[None], c[None]],
                attrs={"hidden_size": width},
                dtypes=[x.dtype] * 3,
                shapes=[(length, 1, batch, width), (1, batch, width), (1, batch, width)],
            )
            x = y.squeeze(1)
            state.append(y_h.squeeze(0))
            state.append(y_c.squeeze(0))
        return x


def _onnx_gates(parameter: Tensor) -> Tensor:
    """Reorder gates from torch's order (input, forget, cell, output) to that of ONNX (input, output, forget, cell)."""
    gate = len(parameter) // 4
    return torch.cat([parameter[:gate], parameter[3 * gate :], parameter[gate : 3 * gate]])


class Residual(nn.Module):
    """Residual unit of SEANet: [B, width, n] -> [B, width, n]."""

    def __init__(self, width: int, dilation: int, size: CodecSize) -> None:
        super().__init__()
        hidden = width // size.compress
        self.conv_1 = CausalConv1d(width, hidden, size.residual_kernel, dilation=dilation)
        self.conv_2 = nn.Conv1d(hidden, width, 1)
        self.shortcut = nn.Conv1d(width, width, 1) if size.shortcut else nn.Identity()

    def forward(self, x: Tensor, state: State) -> Tensor:
        return self.shortcut(x) + self.conv_2(F.elu(self.conv_1(F.elu(x), state)))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """One upsampling stage of SEANet: [B, width, n] -> [B, width / 2, n * ratio]."""

    def __init__(self, width: int, ratio: int, size: CodecSize) -> None:
        super().__init__()
        self.upsample = CausalConvTranspose1d(width, width // 2, ratio)
        self.residuals = nn.ModuleList(
            Residual(width // 2, size.dilation_growth**j, size) for j in range(size.residual_layers)
        )

    def forward(self, x: Tensor, state: State) -> Tensor:
        x = self.upsample(F.elu(x), state)
        for residual in self.residuals:
            x = residual(x, state)
        return x


class CodecModule(nn.Module):
    """Computes waveforms and the next state from fine codes and the state; see `bark_onnx.model.sizes.codec_state`."""

    def __init__(self, size: CodecSize) -> None:
        super().__init__()
        width = size.filters * 2 ** len(size.ratios)
        self.size = size
        self.codebooks = nn.Parameter(torch.empty(size.codebooks, size.codebook_size, size.width))
        self.stem = CausalConv1d(size.width, width, size.kernel)
        self.lstm = LSTM(width, width, size.lstm_layers)
        self.stages = nn.ModuleList(Stage(width >> n, ratio, size) for n, ratio in enumerate(size.ratios))
        self.last = CausalConv1d(size.filters, 1, size.last_kernel)

    @classmethod
    def from_tensors(cls, size: CodecSize, tensors: dict[str, Tensor]) -> "CodecModule":
        """Return a module with a checkpoint's tensors."""
        module = cls(size)
        module.load_state_dict(tensors, strict=True)
        return module.eval().requires_grad_(False)

    def new_state(self, rows: int) -> list[Tensor]:
        """Return the past for rows that are all fresh."""
        return [torch.zeros(rows, *shape) for shape in codec_state(self.size).values()]

    def forward(self, codes: Tensor, fresh: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """Decode the next chunk of B utterances, one in each row.

        Args:
            codes: [B, codebooks, T], T at least 1. The first chunk of an utterance must have at least
                `size.first_frames` frames, unless it is the whole utterance.
            fresh: [B] bool, true if the chunk begins an utterance; the row's past is then ignored.
            past: the state that the previous chunk returned, or `new_state`.

        Returns:
            The waveforms [B, T * size.frame_samples], then the state.
        """
        codebooks, codebook_size, width = self.codebooks.shape
        table = self.codebooks.view(codebooks * codebook_size, width)
        offsets = torch.arange(codebooks).unsqueeze(1) * codebook_size
        state = State(fresh, past)
        latents = F.embedding(codes + offsets, table).sum(dim=1).transpose(1, 2)
        return self.synthesise(latents, state), *state.present

    def synthesise(self, latents: Tensor, state: State) -> Tensor:
        """Sums of codebook vectors [B, size.width, T] -> waveforms [B, T * size.frame_samples]."""
        x = self.stem(latents, state)
        sequence = x.permute(2, 0, 1)
        x = (self.lstm(sequence, state) + sequence).permute(1, 2, 0)
        for stage in self.stages:
            x = stage(x, state)
        return self.last(F.elu(x), state).squeeze(1)  # type: ignore[no-any-return]
