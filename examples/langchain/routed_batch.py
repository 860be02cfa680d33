"""A batch of prompts through a router of your own, over two families: who answered how many, and what that saved.

Decisions, tokens and prices are real; here the answers are a stand-in's, and shorter than a model's.

    pip install "pointsman[langchain,local]"
    python examples/langchain/routed_batch.py
"""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

import pointsman
from langchain_pointsman import ChatPointsman
from pointsman.local import LocalEndpoint

FALLBACK = "us.anthropic.claude-sonnet-5-5"
DESK = pointsman.Router(
    name="desk",
    models=["us.amazon.nova-lite-v1:0", "us.amazon.nova-pro-v1:0"],
    fallback_model=FALLBACK,
    criteria=pointsman.RoutingCriteria(response_quality_difference=0.25),
)
PROMPTS = """
Define idempotent in one sentence.
Translate into French: the train is late.
Is a tomato a fruit? Answer yes or no.
Fix the typos: the trane leavs at noon.
Classify as bug, question or praise: since Monday the export button does nothing.
Which is heavier, a kilogram of feathers or a kilogram of lead?
Summarise in one line: the job failed since its bucket was missing; it was created, and the job ran again.
Compare optimistic and pessimistic locking for a booking system, and prove that no seat is sold twice.
A job takes 7 hours on 4 machines, and half of it can't be shared. How long would it take on 12 machines?
Why does this never end? while (i < n) { if (a[i] == 0) continue; i++; }
""".strip().splitlines()


def run(connect: Callable) -> None:
    llm = ChatPointsman(model="desk", routers=[DESK], client=connect("bedrock-runtime"))
    price = pointsman.Catalog.default().resolve(FALLBACK).price
    answers, cost, at_fallback = Counter(), Counter(), Counter()
    for reply in llm.batch(PROMPTS, {"max_concurrency": 8}):
        model, usage = reply.response_metadata["model_name"], reply.usage_metadata
        answers[model] += 1
        cost[model] += Decimal(reply.response_metadata["pointsman"]["cost"]["total"])
        at_fallback[model] += (price.input * usage["input_tokens"] + price.output * usage["output_tokens"]) / 1_000_000
    print(f"{'model':32} answers        cost   had {FALLBACK} answered")
    for model, count in answers.items():
        print(f"{model:32} {count:7}   ${cost[model]:.6f}   ${at_fallback[model]:.6f}")
    print(f"{'total':32} {answers.total():7}   ${cost.total():.6f}   ${at_fallback.total():.6f}")


def main() -> None:
    with LocalEndpoint(engine="extract") as endpoint:
        run(endpoint.client)  # on AWS: run(boto3.client) in place of these two lines


if __name__ == "__main__":
    main()
