"""Look-alikes are ordered by the cross-encoder, and tools are lengthened to the size of a manual."""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import replace

from paths import ROOT

from shortlist.schemas.document import Parameter, Tool
from shortlist.schemas.serialise import tool_document

sys.path.append(str(ROOT / "training"))

from documents import Group
from harden import ANSWERS_AS_WELL, NEAREST, draw, reorder
from lengthen import lengthen

TOOL = Tool(
    "get_open_orders",
    "Lists the open orders of a customer.",
    namespace="shop",
    parameters=(Parameter("page", "page", "integer", "Of the list"), Parameter("options", "options", "object")),
)


def group(positives: int, lookalikes: int, *, name: str = "tools/toole") -> Group:
    marked = tuple(f"p{place}" for place in range(positives))
    return Group(name, "train", "list my orders", "shop", marked, tuple(f"n{place}" for place in range(lookalikes)), ())


def test_the_lookalike_with_the_highest_logit_comes_first() -> None:
    hardened = reorder(group(1, 3), [2.0, -1.0, 1.5, 0.0])

    assert hardened.lookalikes == ["n1", "n2", "n0"]
    assert not hardened.is_mistaken


def test_a_lookalike_just_above_the_relevant_document_is_a_mistake_and_is_kept() -> None:
    hardened = reorder(group(2, 2), [-3.0, 2.0, 2.0 + ANSWERS_AS_WELL / 2, 0.0])

    assert hardened.lookalikes[0] == "n0"
    assert hardened.is_mistaken
    assert hardened.num_left_out == 0


def test_a_lookalike_far_above_all_relevant_documents_is_left_out() -> None:
    hardened = reorder(group(1, 2), [1.0, 1.1 + ANSWERS_AS_WELL, 0.0])

    assert hardened.lookalikes == ["n1"]
    assert hardened.num_left_out == 1
    assert not hardened.is_mistaken


def test_lookalikes_that_were_not_scored_follow_in_their_old_order() -> None:
    far = NEAREST + 4
    hardened = reorder(group(1, far), [0.0, *range(-NEAREST, 0)])

    assert hardened.lookalikes[:2] == [f"n{NEAREST - 1}", f"n{NEAREST - 2}"]
    assert hardened.lookalikes[NEAREST:] == [f"n{place}" for place in range(NEAREST, far)]


def test_a_larger_share_of_small_sets_is_drawn() -> None:
    groups = [group(1, 1, name="tools/large")] * 900 + [group(1, 1, name="tools/small")] * 40

    drawn = Counter(one.set for one in draw(groups, 100, random.Random(1)))

    assert 95 <= drawn.total() <= 105
    assert drawn["tools/small"] / 40 > 2 * drawn["tools/large"] / 900


def test_a_long_tool_keeps_its_name_its_description_and_its_parameters() -> None:
    for seed in range(50):
        long = lengthen(TOOL, random.Random(seed))
        assert TOOL.description in long.description
        assert replace(long, description="", parameters=()) == replace(TOOL, description="", parameters=())
        paths = [parameter.path for parameter in long.parameters]
        assert len(paths) == len(set(paths))
        assert [one for one in long.parameters if one in TOOL.parameters] == list(TOOL.parameters)


def test_long_tools_may_have_dozens_of_options_and_nested_ones_follow_their_parent() -> None:
    made = [lengthen(TOOL, random.Random(seed)) for seed in range(50)]

    assert max(len(one.parameters) for one in made) > 50
    for long in made:
        paths = [parameter.path for parameter in long.parameters]
        nested = [path for path in paths if "." in path]
        assert all(path.rpartition(".")[0] in paths[: paths.index(path)] for path in nested)


def test_a_long_tool_exceeds_the_token_budget_of_a_request() -> None:
    words = [len(tool_document(lengthen(TOOL, random.Random(seed))).split()) for seed in range(50)]

    assert sum(words) / len(words) > 160
