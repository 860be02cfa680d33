"""An agent with three tools, one of which searches a folder of guides. A turn stays on the model that began it, while
tools are at work; what a search finds once more isn't sent once more.

    pip install "pointsman[llama-index,local]"
    python examples/llama_index/agent_with_tools.py
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from llama_index.core.agent.workflow import AgentOutput, FunctionAgent
from llama_index.core.instrumentation.dispatcher import instrument_tags
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool, RetrieverTool

from llama_index.llms.pointsman import Pointsman
from llama_index.retrievers.pointsman import PointsmanRetriever
from pointsman.local import LocalEndpoint

EXAMPLES = Path(__file__).parents[1]
RULES = (EXAMPLES / "langchain" / "house_rules.md").read_text("utf-8")
QUESTIONS = """
Search the guides: what does S3 Vectors cost?
Search the guides and compare OpenSearch Serverless with it: which, and why, if queries are few?
Estimate the price of 12 million tokens, and who has the duty this week?
""".strip().splitlines()


def estimate(millions: int) -> str:
    """What so many million tokens cost: an estimate, at list price."""
    return f"{millions} million input tokens cost ${2.2 * millions:.2f} on Claude Sonnet 5.5."


async def run(connect: Callable) -> None:
    llm = Pointsman("Anthropic Prompt Router", client=connect("bedrock-runtime"))
    retriever = PointsmanRetriever(knowledge_base_id="GUIDES0001", client=connect("bedrock-agent-runtime"), k=4)
    search = RetrieverTool.from_defaults(retriever, name="search_guides", description="Passages of the team's guides.")
    duty = FunctionTool.from_defaults(lambda: "Ada has it.", name="on_call", description="Whose duty it is this week.")
    agent = FunctionAgent(llm=llm, tools=[search, estimate, duty], system_prompt=RULES)
    memory = Memory.from_defaults(session_id="conversation-3", token_limit=100_000)
    for question in QUESTIONS:
        print(question)
        with instrument_tags({"pointsman_scope": "tenant-a"}):
            running = agent.run(user_msg=question, memory=memory)
        async for event in running.stream_events():
            if isinstance(event, AgentOutput):
                trace, called = event.raw["pointsman"], ", ".join(call.tool_name for call in event.tool_calls)
                read = f"{trace['usage']['cache_read_tokens']:,} of {trace['usage']['input_tokens']:,} tokens read"
                print(f"  {trace['model']}: {read}\n    {called or event.response.content}")


def main() -> None:
    with LocalEndpoint(engine="extract", knowledge_bases={"GUIDES0001": EXAMPLES / "guides"}) as endpoint:
        asyncio.run(run(endpoint.client))  # on AWS: asyncio.run(run(boto3.client)), and your knowledge base's id


if __name__ == "__main__":
    main()
