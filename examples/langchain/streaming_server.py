"""A web server that streams its answers, each in the conversation of a tenant's thread. Two tenants ask at once here:
what was retrieved for one is not seen by the other; the house rules, which are the same, come from the cache for both.

    pip install "pointsman[langchain,local]" httpx && python examples/langchain/streaming_server.py
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

from langchain_pointsman import ChatPointsman, PointsmanRetriever
from pointsman.local import LocalEndpoint

RULES = Path(__file__).with_name("house_rules.md").read_text("utf-8")
FIRST = "/abacus/1?question=What is batch inference?", "/bobbin/1?question=Which models take images?"
THEN = "/abacus/1?question=What is provisioned throughput?", "/bobbin/1?question=Which is the cheapest?"


def application(connect: Callable) -> Starlette:
    llm = ChatPointsman(model="us.anthropic.claude-haiku-5-5", client=connect("bedrock-runtime"))
    retriever = PointsmanRetriever(knowledge_base_id="GUIDES0001", client=connect("bedrock-agent-runtime"), k=4)
    histories = defaultdict(list)

    async def tokens(request) -> AsyncIterator[str]:
        tenant, thread = request.path_params.values()  # in earnest, take the tenant from the login
        question, history, answer = request.query_params["question"], histories[tenant, thread], ""
        config = {"configurable": {"thread_id": thread, "pointsman_scope": tenant}}
        context = "\n\n".join(found.page_content for found in await retriever.ainvoke(question, config))
        messages = [("system", f"{RULES}\n\n{context}"), *history, ("human", question)]
        async for chunk in llm.astream(messages, config):
            answer += chunk.text
            yield chunk.text
            if usage := chunk.usage_metadata:
                yield f" ({usage['input_token_details']['cache_read']:,} of {usage['input_tokens']:,} tokens read)"
        history += [("human", question), ("ai", answer)]

    return Starlette(routes=[Route("/{tenant}/{thread}", lambda request: StreamingResponse(tokens(request)))])


async def browse(app: Starlette) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        for turn in FIRST, THEN:
            print(*(reply.text for reply in await asyncio.gather(*map(http.get, turn))), sep="\n", end="\n\n")


def main() -> None:
    guides = {"GUIDES0001": Path(__file__).parent.parent / "guides"}
    with LocalEndpoint(engine="extract", knowledge_bases=guides) as endpoint:
        asyncio.run(browse(application(endpoint.client)))  # on AWS: uvicorn.run(application(boto3.client))


if __name__ == "__main__":
    main()
