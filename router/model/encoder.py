"""Defines the models that run on packed batches, without padding: the cross-encoder and the retrieval encoder."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's usual alias)
from torch import nn

from shortlist.router.engine.packing import PackedBatch, round_up
from shortlist.router.model.attention.backends import Attend, AttentionBackend

__all__ = [
    "CrossEncoder",
    "Linear",
    "ModelConfig",
    "PackedLinear",
    "QuantizedEmbedding",
    "TextEncoder",
    "can_pack",
    "pack_linears",
]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of an encoder.

    `position_offset` is the position id of a pair's first token (0 for BERT, 2 for RoBERTa and XLM-R);
    `max_pair_tokens` is the longest pair that fits the position table.
    """

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocabulary_size: int
    max_pair_tokens: int
    position_offset: int
    num_token_types: int
    layer_norm_eps: float


class QuantizedEmbedding(nn.Module):
    """An embedding table in 4 bits, decoded row by row at lookup.

    `codes` is uint8 `(rows, width / 2)`: the low nibble holds the first half of a block of 32 values, the high nibble
    the second, each offset by 8; `scales` is float16 `(rows, width / 32)`. This is ggml's Q4_0 block (ggml-quants.c).
    """

    block = 32

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("scales", scales, persistent=False)
        self.codes: torch.Tensor
        self.scales: torch.Tensor

    def forward(self, input_ids: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Looks up `(tokens,)` ids and returns `(tokens, width)` in `dtype`."""
        if input_ids.device.type != "cpu":
            return self._decode(input_ids).to(dtype)
        # Documents share most of their words, and decoding a row costs much more than copying it, so decode each
        # distinct row once. On a GPU, finding the distinct ids would make the host wait for the device.
        distinct, places = torch.unique(input_ids, return_inverse=True)
        return self._decode(distinct).to(dtype).index_select(0, places)

    def _decode(self, input_ids: torch.Tensor) -> torch.Tensor:
        codes = F.embedding(input_ids, self.codes).view(len(input_ids), -1, self.block // 2)
        scales = F.embedding(input_ids, self.scales).float().unsqueeze(-1)
        values = torch.cat([codes & 15, codes >> 4], -1).float().sub_(8).mul_(scales)
        return values.view(len(input_ids), -1)


class _Table(nn.Embedding):
    """An embedding table; on the meta device, where a model has a shape but no weights yet, it is not initialised.

    torch would import its compiler to draw numbers there, which takes longer than loading the model.
    """

    def reset_parameters(self) -> None:
        """Draws the initial weights."""
        if self.weight.device.type != "meta":
            super().reset_parameters()


class _Layer(nn.Module):
    """One post-norm transformer layer over `(total_tokens, hidden)`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.layer_norm_eps
        self.num_heads = config.num_heads
        self.qkv = Linear(hidden, 3 * hidden)
        self.attention_out = Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps)
        self.up = Linear(hidden, config.intermediate_size)
        self.down = Linear(config.intermediate_size, hidden)
        self.output_norm = nn.LayerNorm(hidden, eps)

    def forward(self, hidden: torch.Tensor, attend: Attend, firsts: torch.Tensor | None = None) -> torch.Tensor:
        """Returns the states of all tokens, or only of each pair's first token, at the indices `firsts`."""
        tokens, width = hidden.shape
        qkv = self.qkv(hidden).view(tokens, 3, self.num_heads, width // self.num_heads)
        mixed = attend(qkv, first_only=firsts is not None)
        if firsts is not None:
            hidden = hidden.index_select(0, firsts)
        hidden = self.attention_norm(self.attention_out.add_to(hidden, mixed))
        return self.output_norm(self.down.add_to(hidden, self.up.gelu(hidden)))  # type: ignore[no-any-return]


class _Trunk(nn.Module):
    """The embeddings and layers that the cross-encoder and the retrieval encoder have in common."""

    def __init__(self, config: ModelConfig, words: nn.Module | None) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.config = config
        self.words = words if words is not None else _Table(config.vocabulary_size, hidden)
        self.positions = _Table(config.max_pair_tokens, hidden)
        self.token_types = _Table(config.num_token_types, hidden)
        self.embedding_norm = nn.LayerNorm(hidden, config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_layers))

    def embed(self, batch: PackedBatch) -> torch.Tensor:
        """Returns the states before the first layer, `(total_tokens, hidden)`."""
        dtype = self.embedding_norm.weight.dtype
        if isinstance(self.words, QuantizedEmbedding):
            words = self.words(batch.input_ids, dtype)
        else:
            words = self.words(batch.input_ids).to(dtype)
        has_types = self.config.num_token_types > 1
        types = self.token_types(batch.token_types) if has_types else self.token_types.weight[0]
        summed = words + self.positions(batch.positions) + types
        return self.embedding_norm(summed)  # type: ignore[no-any-return]


class CrossEncoder(_Trunk):
    """Scores packed pairs: first token → dense → tanh → one logit.

    RoBERTa's classification head computes this, and so does BERT's pooler followed by its classifier.
    """

    def __init__(self, config: ModelConfig, words: nn.Module | None = None) -> None:
        super().__init__(config, words)
        self.head_dense = Linear(config.hidden_size, config.hidden_size)
        self.head_out = Linear(config.hidden_size, 1)

    def forward(self, batch: PackedBatch, attention: AttentionBackend) -> torch.Tensor:
        """Returns float32 logits `(pairs,)` in the batch's order."""
        attend = attention.plan(batch, self.embedding_norm.weight.dtype)
        hidden = self.embed(batch)
        for layer in self.layers[:-1]:
            hidden = layer(hidden, attend)
        # Only first tokens reach the head, so the last layer computes everything after its keys and values for them
        # alone. This saves three quarters of that layer's products.
        first = self.layers[-1](hidden, attend, batch.cu_seqlens[:-1])
        logits: torch.Tensor = self.head_out(torch.tanh(self.head_dense(first)))
        return logits.float().squeeze(-1)


class TextEncoder(_Trunk):
    """Turns packed texts into unit vectors: the normalised mean of the last layer's states.

    With a `token_width` it also gives each token a vector and a weight, for late interaction.
    """

    def __init__(self, config: ModelConfig, words: nn.Module | None = None, *, token_width: int = 0) -> None:
        super().__init__(config, words)
        self.token_out = Linear(config.hidden_size, token_width + 1) if token_width else None

    def forward(self, batch: PackedBatch, attention: AttentionBackend) -> torch.Tensor:
        """Returns float32 vectors `(texts, hidden)` of length 1, in the batch's order."""
        return self.encode(batch, attention)[0]

    def encode(self, batch: PackedBatch, attention: AttentionBackend) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Returns the text vectors and, if the model has a token width, float32 `(total_tokens, token_width + 1)`.

        A token's row is a vector of length 1, then its weight; the weights of one text sum to 1.
        """
        attend = attention.plan(batch, self.embedding_norm.weight.dtype)
        hidden = self.embed(batch)
        for layer in self.layers:
            hidden = layer(hidden, attend)
        lengths = torch.tensor(batch.lengths, device=hidden.device)
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=hidden.device), lengths)
        sums = torch.zeros(len(lengths), hidden.shape[1], device=hidden.device).index_add(0, owner, hidden.float())
        vectors = F.normalize(sums, dim=-1)
        if self.token_out is None:
            return vectors, None
        tokens = self.token_out(hidden).float()
        # Within these bounds exp neither overflows nor underflows, so softmax needs no maximum per text.
        exps = torch.exp(tokens[:, -1].clamp(-20, 20))
        totals = torch.zeros(len(lengths), device=hidden.device).index_add(0, owner, exps)
        weights = (exps / totals[owner]).unsqueeze(-1)
        return vectors, torch.cat([F.normalize(tokens[:, :-1], dim=-1), weights], -1)


class Linear(nn.Linear):
    """A linear layer that can also apply GELU to its output, or add its output to a residual."""

    def gelu(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the exact GELU (with the error function) of the layer's output."""
        return F.gelu(self(states))

    def add_to(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Computes `residual` plus the layer's output."""
        return residual + self(states)  # type: ignore[no-any-return]


class PackedLinear(nn.Module):
    """Does the same with oneDNN, for inference on a CPU.

    The weights are reordered once instead of at every call, and the operation that follows is fused; in bfloat16 it
    runs before the output is rounded. docs/log.md has the measured gain. The operators are those that torch.compile
    generates calls to.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        # A plain attribute, not a buffer: the reordered tensor is opaque and can be neither saved nor cast.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = linear.bias.detach()

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the layer's output of `(tokens, in)`."""
        return self._run(states, "none", "")

    def gelu(self, states: torch.Tensor) -> torch.Tensor:
        """Computes the exact GELU (with the error function) of the layer's output."""
        return self._run(states, "gelu", "none")

    def add_to(self, residual: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Computes `residual` plus the layer's output."""
        summed: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            _pad_rows(states), _pad_rows(residual), self._weight, self._bias, "add"
        )
        return summed[: len(states)]

    def _run(self, states: torch.Tensor, function: str, algorithm: str) -> torch.Tensor:
        output: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            _pad_rows(states), self._weight, self._bias, function, [], algorithm
        )
        return output[: len(states)]


def _pad_rows(rows: torch.Tensor) -> torch.Tensor:
    """Adds rows of zeros up to a rounded number, for the reason given in `round_up`; whole batches have one already."""
    missing = round_up(len(rows)) - len(rows)
    return F.pad(rows, (0, 0, 0, missing)) if missing else rows


def can_pack(device: torch.device, dtype: torch.dtype) -> bool:
    """Returns whether this torch and this machine can run `PackedLinear`; where it runs, it is faster."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def pack_linears(module: nn.Module) -> None:
    """Replaces every `Linear` in a module by its packed form; afterwards the module supports inference only."""
    for name, child in module.named_children():
        if isinstance(child, Linear):
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)
