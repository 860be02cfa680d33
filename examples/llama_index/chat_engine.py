"""Two conversations about a folder of guides, by the chat engine that `index.as_chat_engine()` gives.

The engine puts the retrieved passages in front of the system prompt, and others at each question. It stays as it is: an
LLM and a retriever of Pointsman's, and its own memory, are all that it takes to cache them. What is written first costs
more than no cache; the questions after it read it.

    pip install "pointsman[llama-index,local]"
    python examples/llama_index/chat_engine.py
"""

from collections.abc import Callable
from pathlib import Path

from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.memory import Memory

import pointsman
from llama_index.llms.pointsman import Pointsman
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman.local import LocalEndpoint

EXAMPLES = Path(__file__).parent.parent
RULES = (EXAMPLES / "langchain" / "house_rules.md").read_text("utf-8")
ON_BATCHES = ["What is batch inference?", "What is provisioned throughput?", "Compare both: which suits a deadline?"]
ON_MODELS = ["Which models take images?", "Which is the cheapest?", "Compare Haiku and Sonnet: when does each suit?"]


def tell(trace: pointsman.Trace) -> None:
    if trace.documents is None:
        print(f"  (the question in other words, by {trace.model.name}: ${trace.cost.total:.6f})")
        return
    read = f"{trace.usage.cache_read_tokens:,} of {trace.usage.input_tokens:,} tokens read from the cache"
    print(f"  {trace.model.name}: {read}, ${trace.cost.total:.6f} (${trace.cost_without_cache:.6f} without it)")


def run(connect: Callable) -> None:
    llm = Pointsman("Anthropic Prompt Router", client=pointsman.Client(connect("bedrock-runtime"), on_trace=tell))
    retriever = PointsmanRetriever(knowledge_base_id="GUIDES0001", client=connect("bedrock-agent-runtime"), k=4)
    for name, questions in (("conversation-1", ON_BATCHES), ("conversation-2", ON_MODELS)):
        memory = Memory.from_defaults(session_id=name, token_limit=100_000)
        engine = CondensePlusContextChatEngine.from_defaults(retriever, llm, memory=memory, system_prompt=RULES)
        with instrument_tags({"pointsman_scope": "tenant-a"}):
            for question in questions:
                print(question)
                print(f"  {engine.chat(question)}\n")


def main() -> None:
    with LocalEndpoint(engine="extract", knowledge_bases={"GUIDES0001": EXAMPLES / "guides"}) as endpoint:
        run(endpoint.client)  # on AWS: run(boto3.client) in place of these two lines, and your knowledge base's id


if __name__ == "__main__":
    main()
