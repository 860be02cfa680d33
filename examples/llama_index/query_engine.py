"""Questions of differing difficulty to one query engine: who answered which, what came from the cache, what it cost.

A query engine returns no reply as Bedrock gave it: `on_trace` of a `pointsman.Client` is told of each. The passages
stand in the system prompt, so that the router judges the question by itself; in a session the rules are read without.

    pip install "pointsman[llama-index,local]"
    python examples/llama_index/query_engine.py
"""

from collections.abc import Callable
from pathlib import Path

from llama_index.core import Document, SimpleKeywordTableIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.prompts import ChatPromptTemplate
from llama_index.core.query_engine import RetrieverQueryEngine

import pointsman
from llama_index.llms.pointsman import Pointsman
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman.local import LocalEndpoint

ROUTER = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
EXAMPLES = Path(__file__).parent.parent
RULES = (EXAMPLES / "langchain" / "house_rules.md").read_text("utf-8")
SYSTEM = ChatMessage(RULES + "\n\nPassages:\n\n{context_str}", role="system")
PROMPT = ChatPromptTemplate([SYSTEM, ChatMessage("{query_str}", role="user")])
QUESTIONS = """
What is batch inference?
Which models take images?
Compare Haiku and Sonnet: when does each suit?
What is provisioned throughput?
Work out which store costs less for 4 million vectors and 20 queries a day, and show why.
""".strip().splitlines()


def run(connect: Callable) -> None:
    traces = []
    llm = Pointsman(ROUTER, client=pointsman.Client(connect("bedrock-runtime"), on_trace=traces.append))
    guides = [Document(text=guide.read_text("utf-8")) for guide in sorted((EXAMPLES / "guides").glob("*.md"))]
    index = SimpleKeywordTableIndex.from_documents(guides, llm=llm, transformations=[SentenceSplitter(chunk_size=256)])
    retriever = PointsmanRetriever(index.as_retriever(retriever_mode="simple", num_chunks_per_query=4))
    engine = RetrieverQueryEngine.from_args(retriever, llm=llm, text_qa_template=PROMPT)
    with pointsman.session("questions", scope="tenant-a"):
        for question in QUESTIONS:
            print(f"{question}\n  {engine.query(question)}")
            (trace,) = traces[-1:]  # to_dict() of it is what a reply's raw["pointsman"] holds
            read = f"{trace.usage.cache_read_tokens:,} of {trace.usage.input_tokens:,} tokens read"
            print(f"  {trace.model.name}: {read}, ${trace.cost.total:.6f} (${trace.cost_without_cache:.6f} without)\n")


def main() -> None:
    with LocalEndpoint(engine="extract") as endpoint:
        run(endpoint.client)  # on AWS: run(boto3.client) in place of these two lines


if __name__ == "__main__":
    main()
