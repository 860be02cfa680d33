"""Strands over `pointsman.Client`: a `BedrockModel` whose public attribute `client` is replaced.

    pip install "pointsman[local]" strands-agents

Against the local endpoint; on AWS, `BedrockModel(model_id=ROUTER)` and `model.client = pointsman.Client(model.client)`.
"""

from __future__ import annotations

from strands import Agent
from strands.models import BedrockModel

import pointsman
from pointsman.local import LocalEndpoint

ROUTER = "Anthropic Prompt Router"
INSTRUCTIONS = "You answer travellers' questions by the timetable, and say so where it doesn't tell. " * 300
QUESTIONS = ("When do trains leave Bern?", "And from Spiez?", "And in heavy snow?")


def main() -> None:
    """Three turns of one conversation."""
    traces: list[pointsman.Trace] = []
    with LocalEndpoint(engine="extract") as endpoint:
        model = BedrockModel(model_id=ROUTER, region_name="us-east-1")
        model.client = pointsman.Client(endpoint.client("bedrock-runtime"), on_trace=traces.append)
        agent = Agent(model=model, system_prompt=INSTRUCTIONS, callback_handler=None)
        for turn, question in enumerate(QUESTIONS, start=1):
            agent(question)
            usage = agent.event_loop_metrics.latest_agent_invocation.usage
            print(f"turn {turn}: {traces[-1].model.id} answered, {usage['cacheReadInputTokens']} tokens read")


if __name__ == "__main__":
    main()
