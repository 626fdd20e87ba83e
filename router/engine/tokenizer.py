"""Turns texts into token ids, and a query with a chunk into a pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.processors import TemplateProcessing

__all__ = ["Pair", "TokenIds", "Tokenizer", "join_ends"]

TokenIds = npt.NDArray[np.int32]

_UNKNOWN = ("<unk>", "[UNK]")
_PADDING = ("<pad>", "[PAD]")


@dataclass(frozen=True, slots=True)
class Pair:
    """One query and one chunk with their special tokens; `second_start` is where the second segment begins."""

    input_ids: TokenIds
    second_start: int

    def __len__(self) -> int:
        return len(self.input_ids)


# A fast tokenizer's encodings take a hundred bytes per token until they are reduced to ids, so it gets texts in parts
# of this size.
_PART_CHARACTERS = 2_000_000


class Tokenizer:
    """Wraps a fast tokenizer; XLM-R pairs read ``<s> q </s></s> d </s>``, BERT pairs ``[CLS] q [SEP] d [SEP]``.

    Text that looks like a special token is never encoded as one, so that no document can forge a segment boundary.
    """

    def __init__(self, fast: FastTokenizer, *, bos_id: int, eos_id: int, num_separators: int) -> None:
        fast.no_padding()
        fast.no_truncation()
        fast.encode_special_tokens = True
        self._fast = fast
        self._unknown = next((i for i in map(fast.token_to_id, _UNKNOWN) if i is not None), None)
        self._forbidden = _forbidden_ids(fast, bos_id, eos_id, self._unknown)
        self._prefix = np.array([bos_id], np.int32)
        self._separator = np.full(num_separators, eos_id, np.int32)
        self._suffix = np.array([eos_id], np.int32)

    @property
    def edge_ids(self) -> tuple[int, int]:
        """The ids of the special tokens before and after a text."""
        return int(self._prefix[0]), int(self._suffix[0])

    @property
    def num_special_tokens(self) -> int:
        """The number of special tokens in a pair."""
        return 2 + len(self._separator)

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens in the vocabulary, added ones included."""
        return int(self._fast.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Encodes texts without special tokens, in order."""
        ids: list[TokenIds] = []
        for part in _parts(texts):
            encodings = self._fast.encode_batch_fast([_clean(text) for text in part], add_special_tokens=False)
            ids.extend(self._without_forged(np.array(encoding.ids, np.int32)) for encoding in encodings)
        return ids

    def count(self, text: str) -> int:
        """Counts the tokens of a text, special tokens excluded."""
        if self._unknown is None:
            return len(self.encode([text])[0])
        # Nothing is removed, so the ids need not be looked at: fitting a document takes several counts.
        (encoding,) = self._fast.encode_batch_fast([_clean(text)], add_special_tokens=False)
        return len(encoding.ids)

    def decode(self, ids: TokenIds) -> str:
        """Turns token ids back into text, without special tokens."""
        return str(self._fast.decode(ids.tolist(), skip_special_tokens=True))

    def special_tokens(self) -> dict[str, str]:
        """Returns the special tokens, under transformers' names for their roles."""
        bos, eos = (str(self._fast.id_to_token(int(ids[0]))) for ids in (self._prefix, self._suffix))
        found = {"bos_token": bos, "cls_token": bos, "eos_token": eos, "sep_token": eos}
        for name, tokens in (("pad_token", _PADDING), ("unk_token", _UNKNOWN)):
            found.update((name, token) for token in tokens if self._fast.token_to_id(token) is not None)
        return found

    def id_of(self, token: str) -> int:
        """Returns the id of a token that is in the vocabulary."""
        index = self._fast.token_to_id(token)
        assert index is not None, token
        return index

    def save(self, path: Path, *, num_token_types: int) -> None:
        """Writes a tokenizer.json that adds special tokens to a text or a pair as `make_single` and `make_pair` do."""
        names = self.special_tokens()
        bos, eos, second = names["bos_token"], names["eos_token"], min(1, num_token_types - 1)
        separators = f" {eos}" * (len(self._separator) - 1)
        saved = FastTokenizer.from_str(self._fast.to_str())
        saved.post_processor = TemplateProcessing(
            single=f"{bos} $A {eos}",
            pair=f"{bos} $A {eos}{separators} $B:{second} {eos}:{second}",
            special_tokens=[(bos, int(self._prefix[0])), (eos, int(self._suffix[0]))],
        )
        saved.save(str(path), pretty=False)

    def make_pair(self, query_ids: TokenIds, chunk_ids: TokenIds) -> Pair:
        """Joins a query and a chunk with the model's special tokens."""
        ids = np.concatenate([self._prefix, query_ids, self._separator, chunk_ids, self._suffix])
        # In BERT the first separator belongs to the first segment; models with two separators have one token type.
        return Pair(ids, second_start=2 + len(query_ids))

    def make_single(self, ids: TokenIds) -> Pair:
        """Adds the special tokens to a single text, for an encoder; all of it is the first segment."""
        whole = np.concatenate([self._prefix, ids, self._suffix])
        return Pair(whole, second_start=len(whole))

    def _without_forged(self, ids: TokenIds) -> TokenIds:
        """Replaces or removes special-token ids, which a Unigram vocabulary finds in plain text (and in ``＜/s＞``)."""
        forged = np.isin(ids, self._forbidden)
        if not forged.any():
            return ids
        return ids[~forged] if self._unknown is None else np.where(forged, np.int32(self._unknown), ids)


def join_ends(ids: TokenIds, most: int) -> TokenIds:
    """Returns the tokens of a text without its middle, at most `most` of them, half from each end."""
    if len(ids) <= most:
        return ids
    return np.concatenate([ids[: most // 2], ids[len(ids) - (most - most // 2) :]])


def _forbidden_ids(fast: FastTokenizer, bos_id: int, eos_id: int, unknown: int | None) -> TokenIds:
    special = {index for index, token in fast.get_added_tokens_decoder().items() if token.special}
    return np.array(sorted((special | {bos_id, eos_id}) - {unknown}), np.int32)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for text in texts:
        if part and size + len(text) > _PART_CHARACTERS:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part


def _clean(text: str) -> str:
    """Replaces lone surrogates, which JSON allows but the tokenizer cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
