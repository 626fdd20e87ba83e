"""The cross-encoder's training: its losses, its starting weights, and the forms of its documents."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from paths import ROOT

from shortlist.router.engine.tokenizer import Pair
from shortlist.router.model.attention.blocks import PaddedAttention
from shortlist.router.model.encoder import CrossEncoder
from shortlist.schemas.document import Column, Parameter, Table, Tool

sys.path.append(str(ROOT / "training"))

import train
from batch import choose_trainable, in_order, pack_longest_first
from checkpoints import random_encoder, random_model, random_pairs
from export import load_encoder_runs, student_state
from forms import FORMS
from own_folders import write_whole
from precision import MasterOptimizer
from train import BINARY_SHARE, NOTHING_SHARE, Example, mean_loss, mean_state

TOOL = Tool("send_mail", "Sends a letter.", namespace="post", parameters=(Parameter("to", "to", type="string"),))
TABLE = Table("orders", columns=(Column("order_id", type="int"),))


def example(num_pairs: int, num_positives: int) -> Example:
    return Example([Pair(np.zeros(1, np.int32), 0)] * num_pairs, num_positives)


def group_loss(logits: torch.Tensor, num_positives: int) -> torch.Tensor:
    return mean_loss(logits, None, [example(len(logits), num_positives)])


def loss_by_definition(logits: torch.Tensor, num_positives: int) -> torch.Tensor:
    others = torch.cat([torch.zeros(1), logits[num_positives:]])
    lists = torch.stack([torch.cat([one[None], others]) for one in logits[:num_positives]])
    labels = torch.tensor([1.0] * num_positives + [0.0] * (len(logits) - num_positives))
    listwise = F.cross_entropy(lists, torch.zeros(num_positives, dtype=torch.long))
    binary = F.binary_cross_entropy_with_logits(logits, labels)
    return listwise + NOTHING_SHARE * torch.logsumexp(others, 0) + BINARY_SHARE * binary


def test_the_loss_is_the_mean_over_queries_of_different_sizes() -> None:
    sizes = [(5, 2), (3, 1), (2, 2), (8, 4)]
    parts = [3 * torch.randn(size, generator=torch.Generator().manual_seed(size)) for size, _ in sizes]
    expected = torch.stack([loss_by_definition(part, n) for part, (_, n) in zip(parts, sizes, strict=True)]).mean()
    logits = torch.cat(parts).requires_grad_()

    loss = mean_loss(logits, None, [example(*size) for size in sizes])

    torch.testing.assert_close(loss.detach(), expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.isfinite().all()
    assert (gradient != 0).all()


def test_a_query_that_nothing_fits_pushes_all_its_documents_down() -> None:
    logits = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)

    loss = mean_loss(logits, None, [Example([Pair(np.zeros(1, np.int32), 0)] * 3, 0, nothing_share=1.0)])

    binary = F.binary_cross_entropy_with_logits(logits, torch.zeros(3))
    torch.testing.assert_close(loss, torch.logsumexp(F.pad(logits, (1, 0)), 0) + BINARY_SHARE * binary)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient > 0).all()


def test_a_student_learns_the_order_and_the_logits_of_its_teacher() -> None:
    sizes = [(4, 1), (2, 1)]
    examples = [example(*size) for size in sizes]
    wanted = torch.tensor([2.0, 1.0, -1.0, 0.5, 1.5, -2.0])
    logits = torch.tensor([1.0, 2.0, -2.0, 0.5, 0.5, 0.0], requires_grad=True)
    expected = []
    for own, theirs, (_, n) in zip(logits.split([4, 2]), wanted.split([4, 2]), sizes, strict=True):
        order = F.cross_entropy(own[None], torch.softmax(theirs, 0)[None])
        expected.append(0.3 * loss_by_definition(own, n) + order + 0.05 * F.mse_loss(own, theirs))

    loss = mean_loss(logits, wanted, examples)

    torch.testing.assert_close(loss, torch.stack(expected).mean())
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()
    assert loss > mean_loss(wanted, wanted, examples)


def test_a_relevant_document_below_a_negative_raises_the_loss() -> None:
    assert group_loss(torch.tensor([-1.0, 2.0, 0.0]), 1) > group_loss(torch.tensor([2.0, -1.0, 0.0]), 1)


def test_negatives_with_high_logits_raise_the_loss_even_if_the_relevant_one_wins() -> None:
    assert group_loss(torch.tensor([9.0, 3.0, 3.0]), 1) > group_loss(torch.tensor([9.0, -3.0, -3.0]), 1) + 1


def test_all_relevant_documents_enter_the_loss() -> None:
    assert group_loss(torch.tensor([3.0, -3.0, -1.0]), 2) > group_loss(torch.tensor([3.0, 3.0, -1.0]), 2)


def test_the_order_of_relevant_documents_does_not_matter() -> None:
    one, other = torch.tensor([1.0, 4.0, -2.0, -1.0]), torch.tensor([4.0, 1.0, -1.0, -2.0])
    assert float(group_loss(one, 2)) == pytest.approx(float(group_loss(other, 2)))


def test_a_run_can_start_from_the_mean_of_others() -> None:
    torch.manual_seed(1)
    states = [{"a": torch.randn(3), "b": torch.randn(2, 2)} for _ in range(3)]
    mean = mean_state(states)
    assert mean["a"].tolist() == pytest.approx(((states[0]["a"] + states[1]["a"] + states[2]["a"]) / 3).tolist())
    assert mean["b"].shape == (2, 2)


def test_runs_with_different_weights_cannot_be_averaged() -> None:
    with pytest.raises(SystemExit, match="cannot be averaged"):
        mean_state([{"a": torch.zeros(1)}, {"a": torch.zeros(1), "b": torch.zeros(1)}])


def test_an_export_can_average_two_runs(tmp_path: Path) -> None:
    torch.manual_seed(1)
    runs = [random_encoder(token_width=4).state_dict() for _ in range(2)]
    for number, state in enumerate(runs):
        (tmp_path / str(number)).mkdir()
        torch.save({"averaged": state}, tmp_path / str(number) / "checkpoint.pt")
    encoder = random_encoder(token_width=4)

    load_encoder_runs(encoder, tmp_path / "0", tmp_path / "1")

    torch.testing.assert_close(
        encoder.layers[0].up.weight, (runs[0]["layers.0.up.weight"] + runs[1]["layers.0.up.weight"]) / 2
    )


def test_a_run_can_start_from_a_trained_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    base, encoder = random_model(), random_encoder(token_width=4).state_dict()
    of_base = {name: t for name, t in base.state_dict().items() if not name.startswith("head_")}
    monkeypatch.setattr(train, "read_base", lambda _: (base.config, base.words, dict(of_base)))
    monkeypatch.setattr(train, "averaged", lambda _: encoder)

    begun = train.make_model(Path("base"), (), Path("run")).state_dict()

    assert all(torch.equal(begun[name], encoder[name]) for name in of_base)
    assert not torch.equal(begun["layers.0.up.weight"], of_base["layers.0.up.weight"])
    with pytest.raises(SystemExit, match="exclude each other"):
        train.make_model(Path("base"), [Path("other")], Path("run"))
    del encoder["layers.1.up.weight"]
    with pytest.raises(SystemExit, match=r"lacks layers.1.up.weight"):
        train.make_model(Path("base"), (), Path("run"))


def test_a_checkpoint_holds_the_frozen_weights_unchanged() -> None:
    model: CrossEncoder = random_model()
    model.layers[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}

    kept = MasterOptimizer(model, lr=1e-3).averaged()

    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("title", FORMS["tools"])
def test_every_form_of_a_tool_identifies_it(title: str) -> None:
    text = FORMS["tools"][title](TOOL)(None, None)
    assert "mail" in text
    assert ("Sends a letter" in text) == ("no description" not in title)


@pytest.mark.parametrize("title", FORMS["tables"])
def test_every_form_of_a_table_identifies_it(title: str) -> None:
    text = FORMS["tables"][title](TABLE)(None, None)
    assert "orders" in text
    assert ("id" in text.lower()) == ("no columns" not in title)


@pytest.mark.parametrize(("kind", "item"), [("tools", TOOL), ("tables", TABLE)])
def test_no_two_whole_forms_are_the_same(kind: str, item: Tool | Table) -> None:
    whole = [form(item)(None, None) for title, form in FORMS[kind].items() if not title.startswith("prose, no")]
    assert len(set(whole)) == len(whole)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_gradients_on_a_gpu_equal_those_on_the_cpu() -> None:
    card = torch.device("cuda")
    on_cpu, on_card = (random_model().requires_grad_() for _ in range(2))
    on_card.load_state_dict(on_cpu.state_dict())
    on_card.to(card).to(torch.bfloat16)
    packed, order = pack_longest_first(random_pairs([5, 40, 17, 64, 9]), on_cpu.config.max_pair_tokens)
    examples = [example(3, 1), example(2, 1)]

    mean_loss(in_order(on_cpu(packed, PaddedAttention()), order), None, examples).backward()
    attention = choose_trainable(card, on_card.config)
    mean_loss(in_order(on_card(packed.to(card), attention), order), None, examples).backward()

    for name in ("layers.0.qkv.weight", "layers.1.down.weight", "head_dense.weight"):
        expected, found = (dict(model.named_parameters())[name].grad for model in (on_cpu, on_card))
        assert expected is not None
        assert found is not None
        assert float(F.cosine_similarity(expected.flatten(), found.float().cpu().flatten(), 0)) > 0.98, name


def test_a_student_may_start_from_the_fast_variant_of_a_folder(tmp_path: Path) -> None:
    written = write_whole(tmp_path / "model")

    state = student_state(tmp_path, written.folder)

    expected = {name: one for name, one in written.fast.state_dict().items() if not name.startswith("words.")}
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(state[name], tensor, atol=0.02, rtol=0)
