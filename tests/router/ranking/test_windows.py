from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from checkpoints import unigram_tokenizer
from recording import Recorder

from shortlist.router.engine.tokenizer import Tokenizer
from shortlist.router.ranking.windows import MAX_DOCUMENT_TOKENS, score_documents
from shortlist.schemas.errors import InvalidInput, LimitExceeded

TOKENIZER = Tokenizer(unigram_tokenizer(), bos_id=0, eos_id=2, num_separators=2)


def test_a_document_of_the_maximum_length_is_scored_in_bounded_memory() -> None:
    scorer = Recorder(keep=False)
    document = np.zeros(MAX_DOCUMENT_TOKENS, np.int32)
    query = np.zeros(510, np.int32)
    tracemalloc.start()

    scores = score_documents(
        query, [document], tokenizer=TOKENIZER, scorer=scorer, max_pair_tokens=1_024, overlap_tokens=80
    )

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Windows of 510 that share 80 start every 430; all pairs at once would take 5 MB.
    assert scores.num_chunks == scorer.num_pairs == 1 + -(-(MAX_DOCUMENT_TOKENS - 510) // 430)
    assert peak_bytes < 2_000_000


def test_tiny_windows_of_a_long_document_are_made_lazily() -> None:
    scorer = Recorder(keep=False)
    tracemalloc.start()

    scores = score_documents(
        np.zeros(8, np.int32),
        [np.zeros(50_000, np.int32)],
        tokenizer=TOKENIZER,
        scorer=scorer,
        max_pair_tokens=16,
        overlap_tokens=80,
        max_slice_pairs=256,
    )

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scores.num_chunks == 1 + -(-(50_000 - 4) // 3)
    assert peak_bytes < 1_000_000


def test_a_document_beyond_the_limit_is_named() -> None:
    documents = [np.zeros(5, np.int32), np.zeros(MAX_DOCUMENT_TOKENS + 1, np.int32)]

    with pytest.raises(LimitExceeded, match=r"documents\[1\]: has 524289 tokens") as caught:
        score_documents(
            documents[0], documents, tokenizer=TOKENIZER, scorer=Recorder(), max_pair_tokens=64, overlap_tokens=8
        )
    assert (caught.value.limit, caught.value.actual) == (524_288, 524_289)


def test_a_document_of_a_longer_list_is_named_by_its_index_in_it() -> None:
    documents = [np.zeros(5, np.int32), np.zeros(MAX_DOCUMENT_TOKENS + 1, np.int32)]

    with pytest.raises(LimitExceeded, match=r"documents\[70\]: has"):
        score_documents(
            documents[0],
            documents,
            tokenizer=TOKENIZER,
            scorer=Recorder(),
            max_pair_tokens=64,
            overlap_tokens=8,
            places=[3, 70],
        )


def test_times_and_tokens_of_all_slices_are_summed() -> None:
    recorder = Recorder()

    scores = score_documents(
        np.zeros(4, np.int32),
        [np.zeros(length, np.int32) for length in (3, 30, 3)],
        tokenizer=TOKENIZER,
        scorer=recorder,
        max_pair_tokens=28,
        overlap_tokens=0,
        max_slice_pairs=2,
    )

    assert [len(call) for call in recorder.calls] == [2, 2]
    assert (scores.num_chunks, scores.num_tokens) == (4, 11 + 28 + 28 + 11)
    assert (scores.queue_ms, scores.infer_ms) == (2.0, 4.0)
    assert len(scores.logits) == 3


def test_a_query_that_leaves_no_room_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="max_pair_tokens: 16 leaves no room for a document beside a query of 12"):
        score_documents(
            np.zeros(12, np.int32),
            [np.zeros(1, np.int32)],
            tokenizer=TOKENIZER,
            scorer=Recorder(),
            max_pair_tokens=16,
            overlap_tokens=0,
        )
