"""Makes a tool as long as some real tools: adds a manual to its description, and dozens of options to its parameters.

The additions do not say what the tool does, so it is relevant to the same queries as before, and a model must find the
important part. All choices are drawn from a `random.Random`; no data set is used.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from shortlist.schemas.document import Parameter, Tool

__all__ = ["lengthen"]

_BEFORE = (
    "Part of the stable interface since version 2.", "Operation of the public interface.", "Requires a signed-in user.",
    "IMPORTANT: read the notes below before the first call.", "Generated from the service's description.",
    "Use this tool when the user asks for it in so many words.", "Stability: general availability.",
)  # fmt: skip
_AFTER = (
    "Returns an object with the fields `data`, `meta` and `links`.", "Returns null when nothing was found.",
    "Answers in pages; follow `next_cursor` until it is empty.", "At most 100 calls a minute are served per key.",
    "Calls above the limit fail with status 429 and tell in `Retry-After` how long to wait.",
    "Fails with status 401 when the key is missing or expired.", "Fails with status 403 when a permission is absent.",
    "Fails with status 404 when the identifier is unknown.", "Fails with status 422 when a value is out of its range.",
    "Times are in UTC and written as in ISO 8601.", "Amounts are in the smallest unit of their currency.",
    "Text longer than 4,096 characters is cut.", "The call may be repeated safely with the same idempotency key.",
    "Results may be up to five minutes old.", "Do not call this more than once for the same message.",
    "Do not guess identifiers: ask the user when one is missing.", "Ask the user to confirm before changing anything.",
    "Prefer one call with many values to many calls with one.", "Large answers are shortened; ask for fewer fields.",
    "Deprecated fields are kept until the next major version.", "Every call is written to the audit log.",
    "See the guide for examples in Python, Go and TypeScript.", "Names are matched whatever their letter case.",
    "An empty list means all of them.", "Unknown fields are ignored.", "The order of results is not guaranteed.",
    "Works in all regions but the test region.", "Counts as one unit of the monthly quota.",
)  # fmt: skip
_TITLES = ("Notes:", "Usage notes:", "Returns:", "Errors:", "Limits:", "Behaviour:", "## Details", "Remarks -")
_OPTIONS = (
    ("page", "integer", "Which page, from 1"), ("per_page", "integer", "How many on a page"),
    ("cursor", "string", "Where the last page ended"), ("sort", "string", "The field to sort by"),
    ("order", "string", "asc or desc"), ("fields", "array of string", "Only these fields are returned"),
    ("include", "array of string", "What else to return"), ("exclude", "array of string", "What to leave out"),
    ("locale", "string", "Language of texts, such as en-GB"), ("timezone", "string", "IANA name of a time zone"),
    ("dry_run", "boolean", "Check only, change nothing"), ("timeout_ms", "integer", "Give up after so long"),
    ("retries", "integer", "How often to try again"), ("idempotency_key", "string", "The same for a repeated call"),
    ("request_id", "string", "Comes back in the answer"), ("trace", "boolean", "Add timings to the answer"),
    ("format", "string", "json, csv or xml"), ("pretty", "boolean", "Indent the answer"),
    ("compress", "boolean", "Send the answer compressed"), ("api_version", "string", "Pins the interface's version"),
    ("callback_url", "string", "Called when it is done"), ("notify", "boolean", "Tell the owner"),
    ("priority", "string", "low, normal or high"), ("tags", "array of string", "Labels of your own"),
    ("metadata", "object", "Anything you want to keep with it"), ("verbose", "boolean", "Say more"),
    ("strict", "boolean", "Refuse what would otherwise be ignored"), ("cache", "boolean", "Accept a kept answer"),
    ("max_age", "integer", "How old a kept answer may be, in seconds"), ("region", "string", "Where to run"),
    ("tenant", "string", "On whose behalf"), ("user_agent", "string", "What the caller calls itself"),
    ("since", "string", "Only what is newer"), ("until", "string", "Only what is older"),
    ("limit", "integer", "At most so many"), ("offset", "integer", "Skip so many"),
)  # fmt: skip
_NESTS = ("options", "config", "request", "advanced", "context", "output", "client")


def lengthen(tool: Tool, rng: random.Random) -> Tool:
    """Adds 3 to 20 sentences around the description, and 5 to 60 options before or after the parameters."""
    before = rng.sample(_BEFORE, rng.choice((0, 0, 1, 2)))
    after = rng.sample(_AFTER, rng.randint(3, 18))
    for place in rng.sample(range(len(after)), rng.choice((0, 1, 2))):
        after[place] = f"{rng.choice(_TITLES)} {after[place]}"
    text = rng.choice((" ", "\n", "\n- ")).join([tool.description.strip(), *after]).strip()
    options = _options(tool.parameters, rng.choice((5, 15, 30, 60)), rng)
    own = list(tool.parameters)
    at = rng.choice((0, len(own)))  # not in between, because nested parameters follow their parent
    return replace(tool, description=" ".join([*before, text]), parameters=(*own[:at], *options, *own[at:]))


def _options(own: Sequence[Parameter], count: int, rng: random.Random) -> list[Parameter]:
    """Draws options at the top level, then nested ones; none has the name of one of the tool's own parameters."""
    taken = {parameter.path for parameter in own}
    made: list[Parameter] = []
    for nest in ("", *rng.sample(_NESTS, len(_NESTS))):
        if nest in taken or len(made) >= count:
            continue
        if nest:
            made.append(Parameter(nest, nest, "object"))
        for name, kind, description in rng.sample(_OPTIONS, min(count, rng.randint(6, 16))):
            path = f"{nest}.{name}" if nest else name
            if path not in taken:
                said = description if rng.random() < 0.8 else ""
                made.append(Parameter(name, path, kind, said, depth=1 if nest else 0))
    return made[: count + 1]
