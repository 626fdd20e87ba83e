"""Asks a server with the clients that vendors and frameworks publish, pointed at it by nothing but its address.

    python tests/vendor_clients.py http://127.0.0.1:8080 [KEY]

Each check runs where its package is there, and is named as left out where it is not; the exit code is 1 if one fails.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

QUERY = "capital of France"
DOCUMENTS = ["Berlin is the capital of Germany.", "Paris is the capital of France.", "Bananas are yellow."]
BEST = 1


def cohere_v2(url: str, key: str) -> list[int]:
    """Cohere's own client, v2."""
    import cohere

    client = cohere.ClientV2(api_key=key, base_url=url)
    answer = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, top_n=2, max_tokens_per_doc=512)
    assert answer.id
    assert answer.meta is not None
    assert answer.meta.billed_units is not None
    assert answer.meta.billed_units.search_units == 1
    return [result.index for result in answer.results]


def cohere_v1(url: str, key: str) -> list[int]:
    """Cohere's own client, v1, with documents that are objects and come back."""
    import cohere

    client = cohere.Client(api_key=key, base_url=url)
    documents: list[Any] = [{"text": document} for document in DOCUMENTS]
    answer = client.rerank(
        model="rerank-english-v3.0", query=QUERY, documents=documents, top_n=2, return_documents=True
    )
    assert answer.results[0].document is not None
    assert answer.results[0].document.text == DOCUMENTS[BEST]
    return [result.index for result in answer.results]


def cohere_error(url: str, key: str) -> list[int]:
    """Cohere's own client, on a request that is wrong: its exception holds our text."""
    import cohere
    from cohere.errors import BadRequestError

    client = cohere.ClientV2(api_key=key, base_url=url)
    text = ""
    try:
        client.rerank(model="rerank-v3.5", query=" ", documents=DOCUMENTS)
    except BadRequestError as error:
        text = error.body["message"]
    assert text.startswith("query: is empty")
    return [BEST]


def litellm_as(provider: str, path: str = "") -> Callable[[str, str], list[int]]:
    """LiteLLM, which speaks a vendor's contract to whatever address it is given; here it wants documents back too."""

    def check(url: str, key: str) -> list[int]:
        import litellm

        answer = litellm.rerank(
            model=f"{provider}/any", query=QUERY, documents=DOCUMENTS, top_n=2, api_base=url + path, api_key=key,
            return_documents=True,
        )  # fmt: skip
        assert len(answer.results) == 2
        assert answer.results[0]["document"]["text"] == DOCUMENTS[BEST]
        return [result["index"] for result in answer.results]

    return check


def llama_index_cohere(url: str, key: str) -> list[int]:
    """LlamaIndex's post-processor for Cohere."""
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    return _llama_index(CohereRerank(api_key=key, model="rerank-v3.5", top_n=2, base_url=url))


def llama_index_jina(url: str, key: str) -> list[int]:
    """LlamaIndex's post-processor for Jina."""
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    return _llama_index(
        JinaRerank(api_key=key, model="jina-reranker-v2-base-multilingual", top_n=2, base_url=f"{url}/v1")
    )


def llama_index_error(url: str, key: str) -> list[int]:
    """LlamaIndex's post-processor for Jina, on a request that is wrong: its exception holds our text."""
    from llama_index.core.schema import NodeWithScore, TextNode
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    text = ""
    try:
        JinaRerank(api_key=key, base_url=url).postprocess_nodes([NodeWithScore(node=TextNode(text="x"))], query_str=" ")
    except RuntimeError as error:
        text = str(error)
    assert text.startswith("query: is empty")
    return [BEST]


def llama_index_tei(url: str, key: str) -> list[int]:
    """LlamaIndex's post-processor for text-embeddings-inference."""
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    return _llama_index(TextEmbeddingInference(base_url=url, top_n=2, auth_token=key))


def _llama_index(postprocessor: Any) -> list[int]:
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(DOCUMENTS)]
    return [int(node.node.node_id) for node in postprocessor.postprocess_nodes(nodes, query_str=QUERY)]


def haystack_cohere(url: str, key: str) -> list[int]:
    """Haystack's ranker for Cohere."""
    from haystack import Document
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    ranker = CohereRanker(model="rerank-v3.5", api_key=Secret.from_token(key), api_base_url=url, top_k=2)
    documents = [Document(id=str(place), content=text) for place, text in enumerate(DOCUMENTS)]
    return [int(document.id) for document in ranker.run(query=QUERY, documents=documents)["documents"]]


def haystack_jina(url: str, key: str) -> list[int]:
    """Haystack's ranker for Jina, which names the whole address and hands on the model and the usage."""
    from haystack import Document
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.jina import JinaRanker

    ranker = JinaRanker(api_key=Secret.from_token(key), base_url=f"{url}/v1/rerank")
    documents = [Document(id=str(place), content=text) for place, text in enumerate(DOCUMENTS)]
    answer = ranker.run(query=QUERY, documents=documents)
    assert len(answer["documents"]) == len(DOCUMENTS)
    assert answer["meta"]["usage"]["total_tokens"] > 0
    return [int(document.id) for document in answer["documents"]]


def infinity(url: str, key: str) -> list[int]:
    """Infinity's own client, which is generated from its schema."""
    from infinity_client import Client
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    body = RerankInput(query=QUERY, documents=DOCUMENTS, model="any")
    answer = rerank.sync(client=Client(base_url=url), body=body)
    return [result.index for result in answer.results]


_DIFY = """
import json, sys
from dify_plugin.interfaces.model.openai_compatible.rerank import OAICompatRerankModel
url, key, query, *documents = sys.argv[1:]
model, credentials = OAICompatRerankModel(model_schemas=[]), {"endpoint_url": url + "/v1", "api_key": key}
model.validate_credentials("any", credentials)
print(json.dumps([document.index for document in model._invoke("any", credentials, query, documents).docs]))
"""


def dify(url: str, key: str) -> list[int]:
    """Dify's base class for rerankers, which also checks credentials; its package replaces the sockets of a process."""
    command = [sys.executable, "-c", _DIFY, url, key, QUERY, *DOCUMENTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return list(json.loads(done.stdout))


def langchain_cohere(url: str, key: str) -> list[int]:
    """LangChain's compressor for Cohere."""
    from langchain_cohere import CohereRerank
    from pydantic import SecretStr

    reranker = CohereRerank(model="rerank-v3.5", cohere_api_key=SecretStr(key), base_url=url, top_n=2)
    return [int(result["index"]) for result in reranker.rerank(DOCUMENTS, QUERY)]


def standard_library(url: str, key: str) -> list[int]:
    """Nothing but Python, as Jina's documentation has it with curl."""
    body = {"model": "jina-reranker-m0", "query": QUERY, "documents": DOCUMENTS, "top_n": 2, "return_documents": True}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/v1/rerank", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        results = json.load(answer)["results"]
    assert results[0]["document"]["text"] == DOCUMENTS[BEST]
    return [result["index"] for result in results]


# By name: the package that is needed, and the check, which gives the order of documents.
CHECKS: dict[str, tuple[str, Callable[[str, str], list[int]]]] = {
    "standard library": ("json", standard_library),
    "cohere v1": ("cohere", cohere_v1),
    "cohere v2": ("cohere", cohere_v2),
    "cohere, an error": ("cohere", cohere_error),
    "litellm as cohere": ("litellm", litellm_as("cohere")),
    "litellm as cohere, /v1": ("litellm", litellm_as("cohere", "/v1")),
    "litellm as jina": ("litellm", litellm_as("jina_ai", "/v1/rerank")),
    "litellm as tei": ("litellm", litellm_as("huggingface")),
    "litellm as vllm": ("litellm", litellm_as("hosted_vllm")),
    "litellm as vllm, /v1": ("litellm", litellm_as("hosted_vllm", "/v1")),
    "litellm as infinity": ("litellm", litellm_as("infinity", "/infinity")),
    "llama-index as cohere": ("llama_index.postprocessor.cohere_rerank", llama_index_cohere),
    "llama-index as jina": ("llama_index.postprocessor.jinaai_rerank", llama_index_jina),
    "llama-index, an error": ("llama_index.postprocessor.jinaai_rerank", llama_index_error),
    "llama-index as tei": ("llama_index.postprocessor.tei_rerank", llama_index_tei),
    "haystack as cohere": ("haystack_integrations.components.rankers.cohere", haystack_cohere),
    "haystack as jina": ("haystack_integrations.components.rankers.jina", haystack_jina),
    "infinity": ("infinity_client", infinity),
    "dify": ("dify_plugin", dify),
    "langchain as cohere": ("langchain_cohere", langchain_cohere),
}


# A proxy named in the environment does not reach this machine, and a list of prices is not what is tested.
_ENVIRONMENT = {"NO_PROXY": "127.0.0.1,localhost", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def is_installed(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


def main(url: str, key: str = "none") -> int:
    """Runs all checks and prints how each went."""
    os.environ |= _ENVIRONMENT
    failed = 0
    for name, (package, check) in CHECKS.items():
        if not is_installed(package):
            print(f"{name:24} left out: there is no {package}")
            continue
        try:
            order = check(url.rstrip("/"), key)
            outcome = "fine" if order[0] == BEST else f"wrong order {order}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        failed += outcome != "fine"
        print(f"{name:24} {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
