"""Loads the tokenizer of a published checkpoint and learns from it how a pair is laid out."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.schemas.errors import ModelError, ModelNotFound, UnsupportedModel

__all__ = ["load_tokenizer"]

_SAMPLE = "a b c e i o t 1 2 的 一 の я и ا"
_VOCABULARIES = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.txt", "vocab.json")


def load_tokenizer(folder: Path) -> tuple[Tokenizer, bool]:
    """Loads a folder's tokenizer, and tells whether it gives the second segment a token type of its own.

    Raises:
        ModelNotFound: there is none, or only in a form that needs transformers, which is not installed.
        ModelError: it cannot be read, or knows no words.
        UnsupportedModel: its pairs read neither ``<s> q </s></s> d </s>`` nor ``[CLS] q [SEP] d [SEP]``.
    """
    fast = _read_fast(folder)
    fast.no_padding()
    fast.no_truncation()
    # The layout comes from the tokenizer, not from the kind of model: BERT encoders exist with XLM-R's vocabulary.
    pair = fast.encode("a", "b")
    segments = pair.sequence_ids
    if 0 not in segments or 1 not in segments:
        raise UnsupportedModel(f"the tokenizer in {folder} makes no tokens of plain letters")
    second = segments.index(1)
    first_end = second - next(i for i, segment in enumerate(reversed(segments[:second])) if segment == 0)
    second_end = len(segments) - segments[::-1].index(1)
    prefix, separator, suffix = pair.ids[: segments.index(0)], pair.ids[first_end:second], pair.ids[second_end:]
    if len(prefix) != 1 or len(suffix) != 1 or not separator or set(separator) != set(suffix):
        raise UnsupportedModel(
            f"the tokenizer in {folder} lays a pair out as {' '.join(pair.tokens)}; "
            "the layouts that run are <s> a </s></s> b </s> and [CLS] a [SEP] b [SEP]"
        )
    # Of a damaged vocabulary transformers makes a tokenizer to which every text is the same.
    unknown = {fast.token_to_id(piece) for piece in ("<unk>", "[UNK]")} | {pair.ids[0], pair.ids[-1]}
    if set(fast.encode(_SAMPLE, add_special_tokens=False).ids) <= unknown:
        raise ModelError(f"the tokenizer in {folder} knows no words; fetch its files again")
    wrapped = Tokenizer(fast, bos_id=prefix[0], eos_id=suffix[0], num_separators=len(separator))
    return wrapped, 1 in pair.type_ids


def _read_fast(folder: Path) -> FastTokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        return _convert(folder)
    try:
        return FastTokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"{path} cannot be read as a tokenizer: {error}") from error


def _convert(folder: Path) -> FastTokenizer:
    """Has transformers make a fast tokenizer of a vocabulary file; it is slow to import, so for that alone."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        # Of a folder without any, transformers makes a tokenizer that knows no words, and every text is the same to it.
        raise ModelNotFound(f"{folder} holds no tokenizer.json, nor any of {', '.join(_VOCABULARIES)}; fetch it again")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ModelNotFound(
            f"{folder} holds no tokenizer.json; with transformers installed (the extra [hub]) older forms are read too"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a damaged file makes of it
        raise ModelNotFound(f"{folder} holds no tokenizer.json, and transformers makes none of it: {error}") from error
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(fast, FastTokenizer):
        raise UnsupportedModel(f"the tokenizer in {folder} has no fast form (tokenizer.json)")
    return fast
