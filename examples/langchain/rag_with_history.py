"""Two conversations about a folder of guides, one by LCEL and one by `create_retrieval_chain`.

As in most templates the retrieved passages stand in the system prompt, and are others at each question. The chains stay
as they are: a chat model and a retriever of Pointsman's and the thread's id are all that it takes to cache them. What
is written first costs more than no cache; the questions after it read it.

    pip install "pointsman[langchain,local]" langchain-classic
    python examples/langchain/rag_with_history.py
"""

from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

import pointsman
from langchain_pointsman import ChatPointsman, PointsmanRetriever
from pointsman.local import LocalEndpoint

SYSTEM = Path(__file__).with_name("house_rules.md").read_text("utf-8") + "\n\nPassages:\n\n{context}"
PROMPT = ChatPromptTemplate([("system", SYSTEM), ("placeholder", "{chat_history}"), ("human", "{input}")])
ON_BATCHES = ["What is batch inference?", "What is provisioned throughput?", "Compare both: which suits a deadline?"]
ON_MODELS = ["Which models take images?", "Which is the cheapest?", "Compare Haiku and Sonnet: when does each suit?"]


def tell(trace: pointsman.Trace) -> None:
    read = f"{trace.usage.cache_read_tokens:,} of {trace.usage.input_tokens:,} tokens read from the cache"
    print(f"{trace.model.name}: {read}, ${trace.cost.total:.6f} (${trace.cost_without_cache:.6f} without it)")


def run(connect: Callable) -> None:
    llm = ChatPointsman(model="Anthropic Prompt Router", client=pointsman.Client(connect(), on_trace=tell))
    retriever = PointsmanRetriever(knowledge_base_id="GUIDES0001", client=connect("bedrock-agent-runtime"), k=4)
    context = itemgetter("input") | retriever | (lambda found: "\n\n".join(one.page_content for one in found))
    lcel = RunnablePassthrough.assign(context=context).assign(answer=PROMPT | llm | StrOutputParser())
    classic = create_retrieval_chain(retriever, create_stuff_documents_chain(llm, PROMPT))
    for thread, chain, questions in (("thread-1", lcel, ON_BATCHES), ("thread-2", classic, ON_MODELS)):
        config, history = {"configurable": {"thread_id": thread, "pointsman_scope": "tenant-a"}}, []
        for question in questions:
            answer = chain.invoke({"input": question, "chat_history": history}, config)["answer"]
            history += [("human", question), ("ai", answer)]
            print(f"  {question}\n  {answer}\n")


def main() -> None:
    guides = {"GUIDES0001": Path(__file__).parent.parent / "guides"}
    with LocalEndpoint(engine="extract", knowledge_bases=guides) as endpoint:
        run(endpoint.client)  # on AWS: run(boto3.client) in place of these two lines, and your knowledge base's id


if __name__ == "__main__":
    main()
