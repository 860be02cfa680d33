"""An agent with three tools, one of which searches a folder of guides: its calls are routed, and cached.

The router chooses a model for each question; the calls that follow it, while tools are at work, stay on that model.
What a search finds once more isn't sent once more.

    pip install "pointsman[langchain,local]"
    python examples/langchain/agent_with_tools.py
"""

from collections.abc import Callable
from pathlib import Path

from langchain.agents import create_agent
from langchain_aws import ChatBedrockConverse
from langchain_core.tools import create_retriever_tool, tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_pointsman import PointsmanMiddleware, PointsmanRetriever
from pointsman.local import LocalEndpoint

RULES = Path(__file__).with_name("house_rules.md").read_text("utf-8")
QUESTIONS = (
    "Search the guides: what does S3 Vectors cost?",
    "Search the guides and compare OpenSearch Serverless with it: which, and why, if queries are few?",
    "Estimate the price of 12 million tokens, and who has the duty this week?",
)


@tool
def estimate(millions: int) -> str:
    """What so many million tokens cost: an estimate, at list price."""
    return f"{millions} million input tokens cost ${2.2 * millions:.2f} on Claude Sonnet 5.5."


def run(connect: Callable) -> None:
    llm = ChatBedrockConverse(model="us.anthropic.claude-sonnet-5-5", client=connect("bedrock-runtime"))
    retriever = PointsmanRetriever(knowledge_base_id="GUIDES0001", client=connect("bedrock-agent-runtime"), k=4)
    search = create_retriever_tool(retriever, "search_guides", "Passages of the team's guides.")
    on_call = tool("on_call", description="Whose duty it is, this week.")(lambda: "Ada has the duty this week.")
    tools, routed = [search, estimate, on_call], PointsmanMiddleware(model="Anthropic Prompt Router")
    agent = create_agent(llm, tools, system_prompt=RULES, middleware=[routed], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "thread-3", "pointsman_scope": "tenant-a"}}
    for question in QUESTIONS:
        print(question)
        for step in agent.stream({"messages": [("human", question)]}, config, stream_mode="updates"):
            for reply in step.get("model", {}).get("messages", ()):
                model, usage = reply.response_metadata["model_name"], reply.response_metadata["pointsman"]["usage"]
                print(f"  {model}: {usage['cache_read_tokens']:,} of {usage['input_tokens']:,} tokens read")
                print(f"    {reply.text or ', '.join(call['name'] for call in reply.tool_calls)}")


def main() -> None:
    guides = {"GUIDES0001": Path(__file__).parent.parent / "guides"}
    with LocalEndpoint(engine="extract", knowledge_bases=guides) as endpoint:
        run(endpoint.client)  # on AWS: run(boto3.client) in place of these two lines, and your knowledge base's id


if __name__ == "__main__":
    main()
