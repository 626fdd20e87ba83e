"""Rewrites a sentence of documentation as a user's query: "Deletes the given order" as "Can you delete my order?".

All choices are drawn from a `random.Random`. The phrases come only from training queries and documents. A sentence that
does not begin with one of the verbs below is not changed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from shortlist.schemas.document import Parameter
from shortlist.schemas.serialise import split_name

__all__ = ["imperative", "paraphrase", "with_values"]

_VERBS = frozenset(
    """accept access activate add adjust analyze append apply approve archive assign associate attach
    authenticate batch build calculate call cancel change check clear clone close collect compare complete
    compute configure confirm connect construct convert copy count create deactivate decode decrypt define
    delete deploy describe detach detect determine disable disassociate display download edit enable encode
    encrypt estimate evaluate execute export extract fetch filter find fit format generate get give identify
    import insert install invite invoke join list load lock look make manage mark merge modify monitor move
    obtain open parse pause perform play plot post predict preview print process provide publish purchase query
    read rebuild record refresh refund register reject release remove rename render renew replace request reset
    resize resolve restart restore resume retrieve return revoke rotate run save scale scan schedule search
    select send set share show sign simulate sort split start stop submit subscribe suspend sync tag terminate
    test track transfer transform translate trigger unlink unlock unsubscribe update upgrade upload validate
    verify view watch write""".split()  # noqa: SIM905 (a list of sixty quoted words is harder to read)
)
# Documentation uses these verbs where users say one of `_FETCH`.
_FETCHING = frozenset(
    """return retrieve obtain provide list describe query fetch get display""".split()  # noqa: SIM905 (a list of sixty quoted words is harder to read)
)
_FETCH = ("get", "see", "have", "fetch", "find", "look up", "list", "pull up", "retrieve")
_SHOW = ("Show me {}", "Give me {}", "Show {}", "What is {}?", "What are {}?", "Where do I find {}?", "{}")
_FRAMES = (
    "{}", "{}", "Please {}", "please {}", "Can you {}?", "Could you {}?", "Could you please {}?", "I want to {}",
    "I need to {}.", "I'd like to {}.", "Help me {}", "How can I {}?", "We have to {}.", "I would like you to {}.",
    "Is there a way to {}?", "Let's {}", "Hey, {}", "{}, please", "Now {}", "Next, {}.",
)  # fmt: skip
_SPECIFIED = re.compile(r"\b(?:the|an?) (?:specified|given|provided|requested|particular|supplied|certain) ", re.I)
_WORDS = ("alpha", "Phoenix", "Q3 report", "Anna", "test", "summer", "main", "blue", "north", "demo", "Kilo", "Delta 7")
# Words in names of parameters that users do not mention.
_TECHNICAL = frozenset(
    """token limit offset page max cursor flag mode format version size fields filter type x self""".split()  # noqa: SIM905 (a list of sixty quoted words is harder to read)
)
_PLACES = ("Berlin", "Osaka", "Lagos", "Boston", "Lima", "Oslo", "Pune", "Porto")
_LINKS = (" with {} {}", " for {} {}", " where {} is {}", ", {} {}", " ({}: {})", " using {} {}")


def paraphrase(sentence: str, parameters: Sequence[Parameter], rng: random.Random) -> str:
    """Rewrites a sentence of documentation as a user's query, sometimes with values for the parameters."""
    order = imperative(sentence)
    if order is None:
        return sentence
    verb, rest = order
    rest = _SPECIFIED.sub(lambda _: rng.choice(("the ", "the ", "my ", "this ")), rest)
    if rng.random() < 0.4:
        rest = with_values(rest, parameters, rng)
    if verb in _FETCHING and rng.random() < 0.3:
        asked = rng.choice(_SHOW).replace("{}", rest)
    else:
        verb = rng.choice(_FETCH) if verb in _FETCHING and rng.random() < 0.8 else verb
        asked = rng.choice(_FRAMES).replace("{}", f"{verb} {rest}")
    return asked[0].upper() + asked[1:] if rng.random() < 0.8 else asked


def imperative(sentence: str) -> tuple[str, str] | None:
    """Splits a sentence into its verb in the imperative and the rest; None if it does not begin with a known verb."""
    first, _, rest = sentence.strip().partition(" ")
    word = first.lower()
    if not word.isascii() or not rest:
        return None
    for verb in (word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)):
        if verb in _VERBS:
            return verb, rest.strip().rstrip(".")
    return None


def with_values(wish: str, parameters: Sequence[Parameter], rng: random.Random) -> str:
    """Adds plausible values for one or two of the parameters."""
    named = [p for p in parameters if p.depth == 0 and p.type in ("string", "integer", "number")]
    named = [p for p in named if not _TECHNICAL & set(split_name(p.path).split())]
    for parameter in rng.sample(named, min(len(named), rng.choice((1, 1, 2)))):
        wish += rng.choice(_LINKS).format(split_name(parameter.path), _value(parameter, rng))
    return wish


def _value(parameter: Parameter, rng: random.Random) -> str:
    name = split_name(parameter.path).split()
    if parameter.enum:
        return rng.choice(parameter.enum)
    if parameter.type == "integer":
        return str(rng.choice((rng.randint(1, 30), rng.randint(100, 99_999))))
    if parameter.type == "number":
        return f"{rng.uniform(0, 500):.{rng.randint(0, 2)}f}"
    if {"id", "key", "uuid", "arn", "token", "hash"} & set(name):
        return "".join(rng.choices("abcdef0123456789", k=rng.choice((4, 8, 12))))
    if {"date", "time", "start", "end", "since", "until", "day"} & set(name):
        return f"20{rng.randint(10, 27)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    if "email" in name or "mail" in name:
        return f"{rng.choice(('ann', 'li', 'omar', 'info'))}@{rng.choice(('example.com', 'mail.test'))}"
    if {"url", "uri", "link", "website", "domain"} & set(name):
        return f"https://{rng.choice(('example.com', 'shop.test', 'docs.test'))}/{rng.randint(1, 99)}"
    if {"city", "country", "location", "region", "place", "address"} & set(name):
        return rng.choice(_PLACES)
    return rng.choice(("{}", "'{}'", '"{}"')).format(rng.choice(_WORDS))
