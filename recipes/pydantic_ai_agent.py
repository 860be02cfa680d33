"""pydantic-ai over `pointsman.Client`: a `BedrockProvider` takes it as its `bedrock_client`.

    pip install "pointsman[local]" "pydantic-ai-slim[bedrock]"

Against the local endpoint; on AWS, `pointsman.Client(boto3.client("bedrock-runtime"))`.
"""

from __future__ import annotations

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider

import pointsman
from pointsman.local import LocalEndpoint

ROUTER = "Anthropic Prompt Router"
INSTRUCTIONS = "You answer travellers' questions by the timetable, and say so where it doesn't tell. " * 300
QUESTIONS = ("When do trains leave Bern?", "And from Spiez?", "And in heavy snow?")


def main() -> None:
    """Three turns of one conversation."""
    traces: list[pointsman.Trace] = []
    with LocalEndpoint(engine="extract") as endpoint:
        client = pointsman.Client(endpoint.client("bedrock-runtime"), on_trace=traces.append)
        agent = Agent(BedrockConverseModel(ROUTER, provider=BedrockProvider(bedrock_client=client)))
        agent.instructions(lambda: INSTRUCTIONS)
        history: list[ModelMessage] = []
        for turn, question in enumerate(QUESTIONS, start=1):
            result = agent.run_sync(question, message_history=history)
            history = result.all_messages()
            print(f"turn {turn}: {traces[-1].model.id} answered, {result.usage.cache_read_tokens} tokens read")


if __name__ == "__main__":
    main()
