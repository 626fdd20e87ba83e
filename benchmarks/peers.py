"""Runs the same weights in the libraries that `make bench` compares Shortlist with (the peers).

A peer loads an exported folder and scores texts. If its library does not sort pairs by length, the peer here does.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shortlist import Router
from shortlist.router.checkpoints.export import export
from shortlist.router.checkpoints.native import LoadedModel
from shortlist.router.engine.tokenizer import Tokenizer

__all__ = ["PEERS", "Exports", "Peer", "Score", "installed", "ours"]

Score = Callable[[str, Sequence[str], int], Sequence[float]]  # query, documents, batch size → one score per document
_CALIBRATION_PAIRS = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """A way to run the model: the packages it needs, how to make it, and the batch sizes to choose from."""

    name: str
    packages: tuple[str, ...]
    make: Callable[[Exports], Score]
    batch_sizes: tuple[int, ...] = (1, 4, 8, 16, 32)


def weights_digest(loaded: LoadedModel) -> str:
    """Returns 8 hexadecimal digits that identify the weights; the name and version do not always change with them."""
    found = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()[:8]


class Exports:
    """Exports one model for each library, under `folder`, when a form is first needed; holds the device to run on."""

    def __init__(self, loaded: LoadedModel, folder: Path, *, device: str = "cpu") -> None:
        self._loaded = loaded
        self._folder = folder
        self.device = device

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._loaded.tokenizer

    @property
    def num_token_types(self) -> int:
        """How many token types the model has."""
        return self._loaded.model.config.num_token_types

    def folder(self, form: str) -> Path:
        """Returns the folder of ``hf``, ``onnx``, ``onnx-int8``, ``openvino`` or ``openvino-int8``."""
        done, folder = self._folder / f"{form}.done", self._folder / form
        if not done.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            _WRITERS.get(form, _write_export)(self, form, folder)
            done.touch()
        return folder

    def write(self, form: str, folder: Path) -> None:
        """Exports the model."""
        export(self._loaded, form, folder)


def installed(peers: Sequence[Peer]) -> Iterator[Peer]:
    """Yields the peers whose packages are installed."""
    return (peer for peer in peers if all(find_spec(name) for name in peer.packages))


def _write_export(exports: Exports, form: str, folder: Path) -> None:
    exports.write(form, folder)


def _write_onnx_int8(exports: Exports, form: str, folder: Path) -> None:
    """Quantises weights ahead of time and activations at run time: ONNX Runtime's recipe for transformers."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source = exports.folder("onnx")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.onnx"))
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(source / "model.onnx", folder / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)


def _write_openvino_int8(exports: Exports, form: str, folder: Path) -> None:
    """Quantises weights and activations with NNCF, calibrated on pairs like the timed ones."""
    import nncf
    import openvino
    from workload import make_workload

    source = exports.folder("openvino")
    workload = make_workload(exports.tokenizer, _CALIBRATION_PAIRS, seed=1)
    batches = list(_padded_batches(exports, workload.query, workload.documents, 1))
    model = openvino.Core().read_model(source / "model.xml")
    quantised = nncf.quantize(
        model,
        nncf.Dataset([inputs for _, inputs in batches]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("model.*"))
    openvino.save_model(quantised, folder / "model.xml", compress_to_fp16=False)


_WRITERS: dict[str, Callable[[Exports, str, Path], None]] = {
    "onnx-int8": _write_onnx_int8,
    "openvino-int8": _write_openvino_int8,
}


def ours(dtype: str) -> Callable[[Exports], Score]:
    """Makes Shortlist, from texts to logits, in a dtype."""

    def make(exports: Exports) -> Score:
        router = Router.load(exports.folder("hf"), device=exports.device, dtype=dtype)
        return lambda query, documents, _: router.as_reference().compute_score([(query, one) for one in documents])

    return make


def sentence_transformers(dtype: str) -> Callable[[Exports], Score]:
    """Makes sentence-transformers' CrossEncoder; its `predict` sorts by length itself."""

    def make(exports: Exports) -> Score:
        from sentence_transformers import CrossEncoder

        model = CrossEncoder(str(exports.folder("hf")), device=exports.device, model_kwargs={"dtype": dtype})
        return lambda query, documents, batch_size: model.predict(
            [(query, one) for one in documents], batch_size=batch_size, show_progress_bar=False
        ).tolist()

    return make


def onnx_runtime(form: str) -> Callable[[Exports], Score]:
    """Makes ONNX Runtime, with batches sorted by length."""

    def make(exports: Exports) -> Score:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        session = onnxruntime.InferenceSession(
            str(exports.folder(form) / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return _batched(exports, lambda inputs: session.run(["logits"], inputs)[0])

    return make


def openvino_runtime(form: str, precision: str) -> Callable[[Exports], Score]:
    """Makes OpenVINO with one stream, with batches sorted by length."""

    def make(exports: Exports) -> Score:
        import openvino

        hints = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": "1"}
        compiled = openvino.Core().compile_model(exports.folder(form) / "model.xml", "CPU", hints)
        return _batched(exports, lambda inputs: compiled(inputs)["logits"])

    return make


def fastembed() -> Callable[[Exports], Score]:
    """Makes fastembed's TextCrossEncoder, which keeps the given order of documents."""

    def make(exports: Exports) -> Score:
        from fastembed.common.model_description import ModelSource
        from fastembed.rerank.cross_encoder import TextCrossEncoder

        folder = exports.folder("onnx")
        TextCrossEncoder.add_custom_model(str(folder), ModelSource(hf="local/model"), "model.onnx")
        model = TextCrossEncoder(str(folder), specific_model_path=str(folder))
        return lambda query, documents, batch_size: list(model.rerank(query, documents, batch_size=batch_size))

    return make


def flashrank() -> Callable[[Exports], Score]:
    """Makes FlashRank, which scores all documents in one padded batch."""

    def make(exports: Exports) -> Score:
        from flashrank import Ranker, RerankRequest
        from flashrank.Config import model_file_map

        folder = exports.folder("onnx")
        model_file_map[folder.name] = "model.onnx"
        ranker = Ranker(folder.name, cache_dir=str(folder.parent), log_level="ERROR")

        def score(query: str, documents: Sequence[str], _: int) -> list[float]:
            passages = [{"id": index, "text": text} for index, text in enumerate(documents)]
            ranked = ranker.rerank(RerankRequest(query=query, passages=passages))
            return [one["score"] for one in sorted(ranked, key=lambda one: one["id"])]

        return score

    return make


def _batched(exports: Exports, run: Callable[[dict[str, Any]], Any]) -> Score:
    def score(query: str, documents: Sequence[str], batch_size: int) -> list[float]:
        logits = np.empty(len(documents))
        for places, inputs in _padded_batches(exports, query, documents, batch_size):
            logits[places] = np.asarray(run(inputs))[:, 0]
        return logits.tolist()

    return score


def _padded_batches(
    exports: Exports, query: str, documents: Sequence[str], batch_size: int
) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Tokenizes once, sorts by length, and pads each batch to its longest pair."""
    tokenizer = exports.tokenizer
    query_ids, *encoded = tokenizer.encode([query, *documents])
    pairs = [tokenizer.make_pair(query_ids, ids) for ids in encoded]
    order = sorted(range(len(pairs)), key=lambda index: -len(pairs[index]))
    padding = tokenizer.id_of(tokenizer.special_tokens()["pad_token"])
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        width = len(pairs[places[0]])
        ids = np.full((len(places), width), padding, np.int64)
        mask = np.zeros((len(places), width), np.int64)
        types = np.zeros((len(places), width), np.int64)
        for row, place in enumerate(places):
            pair = pairs[place]
            ids[row, : len(pair)] = pair.input_ids
            mask[row, : len(pair)] = 1
            types[row, pair.second_start : len(pair)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask}
        yield places, inputs | ({"token_type_ids": types} if exports.num_token_types > 1 else {})


PEERS = (
    # The usage that its documentation shows: float32, batches of 32.
    Peer("sentence-transformers", ("sentence_transformers",), sentence_transformers("float32"), (32,)),
    Peer("sentence-transformers bf16", ("sentence_transformers",), sentence_transformers("bfloat16")),
    Peer("openvino fp32", ("openvino",), openvino_runtime("openvino", "f32")),
    Peer("openvino bf16", ("openvino",), openvino_runtime("openvino", "bf16")),
    Peer("openvino int8", ("openvino", "nncf"), openvino_runtime("openvino-int8", "bf16")),
    Peer("onnxruntime fp32", ("onnxruntime", "onnxscript"), onnx_runtime("onnx")),
    Peer("onnxruntime int8", ("onnxruntime", "onnxscript"), onnx_runtime("onnx-int8")),
    Peer("fastembed", ("fastembed", "onnxscript"), fastembed()),
    Peer("flashrank", ("flashrank", "onnxscript"), flashrank(), (0,)),
)
