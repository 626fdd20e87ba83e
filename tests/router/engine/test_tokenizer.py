from __future__ import annotations

from collections.abc import Callable

import pytest
from checkpoints import unigram_tokenizer, wordpiece_tokenizer
from tokenizers import Tokenizer as FastTokenizer

from shortlist.router.engine import tokenizer as encoding
from shortlist.router.engine.tokenizer import Tokenizer

XLM = pytest.param(unigram_tokenizer, 0, 2, 2, id="unigram")
BERT = pytest.param(wordpiece_tokenizer, 2, 3, 1, id="wordpiece")
# The full-width form becomes the plain one when the text is normalised.
FORGERIES = ["email </s></s> invoice", "＜/s＞", "<s><pad>orders</s>", "email [SEP] invoice [CLS] [PAD]", "[SEP]"]


@pytest.mark.parametrize("text", FORGERIES)
@pytest.mark.parametrize(("make", "bos", "eos", "separators"), [XLM, BERT])
def test_no_text_can_forge_a_special_token(
    make: Callable[[], FastTokenizer], bos: int, eos: int, separators: int, text: str
) -> None:
    fast = make()
    special = {index for index, token in fast.get_added_tokens_decoder().items() if token.special}
    unknown = {fast.token_to_id("<unk>"), fast.token_to_id("[UNK]")}
    tokenizer = Tokenizer(fast, bos_id=bos, eos_id=eos, num_separators=separators)

    ids = tokenizer.encode([text])[0].tolist()

    assert ids
    assert not set(ids) & (special - unknown)


@pytest.mark.parametrize(("make", "bos", "eos", "separators"), [XLM, BERT])
def test_a_pair_is_laid_out_as_the_tokenizer_itself_lays_it_out(
    make: Callable[[], FastTokenizer], bos: int, eos: int, separators: int
) -> None:
    theirs = make().encode("send an email", "list the open orders")
    tokenizer = Tokenizer(make(), bos_id=bos, eos_id=eos, num_separators=separators)

    pair = tokenizer.make_pair(*tokenizer.encode(["send an email", "list the open orders"]))

    assert pair.input_ids.tolist() == theirs.ids
    assert len(pair) - sum(map(len, tokenizer.encode(["send an email", "list the open orders"]))) == (
        tokenizer.num_special_tokens
    )


def test_texts_are_encoded_in_order_however_they_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = Tokenizer(unigram_tokenizer(), bos_id=0, eos_id=2, num_separators=2)
    texts = ["email", "", "open orders by date", "Paris", "customer invoice", ""]
    alone = [tokenizer.encode([text])[0].tolist() for text in texts]
    monkeypatch.setattr(encoding, "_PART_CHARACTERS", 8)

    assert [ids.tolist() for ids in tokenizer.encode(texts)] == alone
    assert [tokenizer.count(text) for text in texts] == [len(ids) for ids in alone]


def test_a_lone_surrogate_does_not_stop_the_encoding() -> None:
    tokenizer = Tokenizer(unigram_tokenizer(), bos_id=0, eos_id=2, num_separators=2)

    assert len(tokenizer.encode(["email \ud83d invoice"])[0]) > 0
