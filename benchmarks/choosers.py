"""The ways to choose a few of many tools or tables that `choose.py` compares, each over the same texts.

A chooser is prepared with the texts of a catalog once, as a server would, and then orders them for each query. Peers
get the documents that Shortlist writes, which say more than a tool's JSON. Their cross-encoder has our weights, and
their embeddings are those of multilingual-e5-small.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from peers import Exports, Score, openvino_runtime, sentence_transformers

from shortlist import Catalog, Router
from shortlist.router.catalogs.catalog import fit_document, write_document
from shortlist.router.first_stage.bm25 import Bm25

__all__ = ["OURS", "Chooser", "Choosers"]

OURS = "Shortlist"
KEPT = 50  # what a cross-encoder behind embeddings scores
_BATCHES = {"sentence-transformers": 32, "openvino int8": 4}
TRAINING = Path(__file__).resolve().parent.parent / "training"

Choose = Callable[[str], Sequence[int]]  # a query → places of the catalog, best first
Vectors = npt.NDArray[np.float32]


class Chooser(Protocol):
    """Makes the function that orders a catalog for a query."""

    def __call__(self, catalog: Catalog) -> Choose:
        """Prepares a catalog."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """A chooser with its name, the packages it needs, and the largest catalog that it can be waited for."""

    name: str
    packages: tuple[str, ...]
    make: Chooser
    most: int = 1_000_000


class Choosers:
    """Makes the choosers; each model is loaded once, when it is first needed."""

    def __init__(self, exports: Exports, base: Path, work: Path, *, document_tokens: int) -> None:
        self._exports, self._base, self._work = exports, base, work
        self._document_tokens = document_tokens

    def installed(self) -> list[Named]:
        """Lists those whose packages are installed."""
        known = (
            Named(OURS, (), self.ours),
            Named("BM25", (), by_words),
            Named("embeddings (fastembed)", ("fastembed", "onnxscript"), self.by_embeddings),
            Named("CrossEncoder over all", ("sentence_transformers",), self.over_all("sentence-transformers"), 200),
            Named("embeddings, CrossEncoder over 50", ("sentence_transformers",), self.behind("sentence-transformers")),
            Named("embeddings, OpenVINO int8 over 50", ("openvino", "nncf", "fastembed"), self.behind("openvino int8")),
        )
        return [one for one in known if all(find_spec(package) for package in one.packages)]

    def texts_of(self, catalog: Catalog) -> list[str]:
        """Returns the document of each item, within the budget of tokens that Shortlist scores of it."""
        count, budget = self._exports.tokenizer.count, self._document_tokens
        written = [(item, write_document(item)) for item in catalog.items]
        return [text if count(text) <= budget else fit_document(item, count, budget).text for item, text in written]

    @cached_property
    def router(self) -> Router:
        """The built-in model, without what earlier processes computed."""
        return Router.load(cache_dir="off")

    def ours(self, catalog: Catalog) -> Choose:
        """Selects five, as a caller does."""
        self._warm(catalog)
        return lambda query: [item.index for item in self.router.select(query, catalog, top_n=5).items]

    def _warm(self, catalog: Catalog) -> None:
        # A request embeds at most so many new documents; the catalogs here are known before.
        while any("ranked by their words alone" in one for one in self.router.select("warm up", catalog).warnings):
            pass

    def by_embeddings(self, catalog: Catalog) -> Choose:
        """Orders by the cosine of multilingual-e5-small's vectors."""
        vectors = self._embed([f"passage: {text}" for text in self.texts_of(catalog)])
        return lambda query: np.argsort(-(vectors @ self._embed([f"query: {query}"])[0])).tolist()

    def over_all(self, peer: str) -> Chooser:
        """Orders by a cross-encoder over everything."""

        def prepare(catalog: Catalog) -> Choose:
            texts, score = self.texts_of(catalog), self._scores[peer]
            return lambda query: np.argsort(-np.asarray(score(query, texts, _BATCHES[peer]))).tolist()

        return prepare

    def behind(self, peer: str) -> Chooser:
        """Orders the best 50 by embeddings by a cross-encoder."""

        def prepare(catalog: Catalog) -> Choose:
            texts, score, near = self.texts_of(catalog), self._scores[peer], self.by_embeddings(catalog)

            def choose(query: str) -> list[int]:
                kept = list(near(query)[:KEPT])
                scores = np.asarray(score(query, [texts[place] for place in kept], _BATCHES[peer]))
                return [kept[place] for place in np.argsort(-scores)]

            return choose

        return prepare

    @cached_property
    def _scores(self) -> Mapping[str, Score]:
        return {
            "sentence-transformers": sentence_transformers("bfloat16")(self._exports),
            "openvino int8": openvino_runtime("openvino-int8", "bf16")(self._exports),
        }

    def _embed(self, texts: Sequence[str]) -> Vectors:
        return np.asarray(list(self._embedder.embed(texts, batch_size=16)), np.float32)

    @cached_property
    def _embedder(self) -> Any:
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        folder = self._work / "e5-onnx"
        if not (folder / "model.onnx").is_file():
            write_embedder(self._base, folder)
        TextEmbedding.add_custom_model(
            model="local/e5-small",
            pooling=PoolingType.MEAN,
            normalization=True,
            sources=ModelSource(hf="local/e5-small"),
            dim=384,
            model_file="model.onnx",
        )
        return TextEmbedding("local/e5-small", specific_model_path=str(folder))


def by_words(catalog: Catalog) -> Choose:
    """Orders by BM25."""
    words = Bm25([item.words for item in catalog.items], [item.details for item in catalog.items])
    return lambda query: np.argsort(-words.scores(query), kind="stable").tolist()


def write_embedder(base: Path, folder: Path) -> None:
    """Writes multilingual-e5-small as ONNX, with the tokenizer as transformers writes it."""
    if str(TRAINING) not in sys.path:
        sys.path.append(str(TRAINING))
    import transformers
    from base import read_base
    from safetensors.torch import load_file

    fields = transformers.BertConfig.from_pretrained(base)
    fields.return_dict = False
    model = transformers.BertModel(fields, add_pooling_layer=False)
    _, words, _ = read_base(base)
    weights = load_file(base / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = words(torch.arange(fields.vocab_size))
    missing, _ = model.load_state_dict(weights, strict=False)
    if any(not name.endswith("position_ids") for name in missing):
        raise SystemExit(f"transformers uses other names: {missing}")
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example = torch.full((2, 16), 5), torch.ones(2, 16, dtype=torch.int64), torch.zeros(2, 16, dtype=torch.int64)
    torch.onnx.export(
        model.eval(),
        example,
        str(folder / "model.onnx"),
        input_names=["input_ids", "attention_mask", "token_type_ids"],
        output_names=["last_hidden_state"],
        dynamic_shapes=({0: "texts", 1: "tokens"},) * 3,
        external_data=False,
        verbose=False,
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(base / "tokenizer.json"), bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=512,
    )  # fmt: skip
    fast.save_pretrained(str(folder))
    fields.save_pretrained(str(folder))
