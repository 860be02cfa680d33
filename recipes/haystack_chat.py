"""Haystack over `pointsman.Client`: an `AmazonBedrockChatGenerator` whose public attribute `client` is set.

    pip install "pointsman[local]" amazon-bedrock-haystack

Against the local endpoint; on AWS, `pointsman.Client(boto3.client("bedrock-runtime"))`. Of `run` only: `run_async`
opens a client of aiobotocore for each call.
"""

from __future__ import annotations

from haystack.dataclasses import ChatMessage
from haystack_integrations.components.generators.amazon_bedrock import AmazonBedrockChatGenerator

import pointsman
from pointsman.local import LocalEndpoint

ROUTER = "Anthropic Prompt Router"
INSTRUCTIONS = "You answer travellers' questions by the timetable, and say so where it doesn't tell. " * 300
QUESTIONS = ("When do trains leave Bern?", "And from Spiez?", "And in heavy snow?")


def main() -> None:
    """Three turns of one conversation."""
    traces: list[pointsman.Trace] = []
    with LocalEndpoint(engine="extract") as endpoint:
        generator = AmazonBedrockChatGenerator(model=ROUTER)
        generator.client = pointsman.Client(endpoint.client("bedrock-runtime"), on_trace=traces.append)
        messages = [ChatMessage.from_system(INSTRUCTIONS)]
        for turn, question in enumerate(QUESTIONS, start=1):
            messages.append(ChatMessage.from_user(question))
            (reply,) = generator.run(messages)["replies"]
            messages.append(reply)
            read = reply.meta["usage"]["cache_read_input_tokens"]
            print(f"turn {turn}: {traces[-1].model.id} answered, {read} tokens read")


if __name__ == "__main__":
    main()
