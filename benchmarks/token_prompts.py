"""Public text made into prompts of many sizes: chats, documents, coding agents and agents that talk JSON.

Knows where the text lies and how a tokenizer would see each block; knows nothing of estimates. What a prompt of the
test half is made of (questions, passages, modules, services, tasks) stands in no prompt of the other half.
"""

from __future__ import annotations

import ast
import gzip
import json
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

import botocore
import pyarrow.parquet as pq

QUESTIONS = ("llmrouter_nim", "mmlu_pro", "zeroeval_crux", "zeroeval_math_l5")
SMALLEST, LARGEST = 1_750, 350_000  # bytes: about 500 and 100,000 tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """A block as Converse has it, and as the text that a tokenizer is given for it."""

    block: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """A prompt: the request, and the texts of its blocks in the order of an outline."""

    request: dict[str, Any]
    texts: tuple[str, ...]


Pools = dict[str, list[Piece]]


def pools(data: Path, *, test: bool) -> Pools:
    """Pieces by what they are, of the half that is learnt from or of the other."""
    made = {
        "question": [_text(text) for text in _questions(data, test)],
        "passage": [_text(text) for text in _passages(data, test)],
        "code": [_text(text) for text in _code(test)],
        "fenced": [_text(f"Here is what I would write:\n\n```python\n{text}\n```") for text in _code(test)],
        "docstring": [_text(text) for text in _docstrings(test)],
        "spec": list(_specs(test)),
        **_tau(data, test),
    }
    made["page"] = [_result(piece.text) for piece in made["code"]]
    made["found"] = [_result(piece.text) for piece in made["passage"]]
    return made


def prompts(pieces: Pools, count: int, seed: int) -> list[Made]:
    """That many prompts of all kinds, their sizes spread evenly over the orders of magnitude."""
    random = Random(seed)
    kinds = (_chat, _documents, _coding_agent, _json_agent, _everything)
    return [kinds[number % len(kinds)](pieces, random, _size(random)) for number in range(count)]


def _size(random: Random) -> int:
    return int(SMALLEST * (LARGEST / SMALLEST) ** random.random())


def _chat(pieces: Pools, random: Random, size: int) -> Made:
    system = [random.choice(pieces["docstring"])]
    return _filled(pieces, random, size, system, 0, [["question"], ["answer"]])


def _documents(pieces: Pools, random: Random, size: int) -> Made:
    system = [random.choice(pieces["policy"])]
    return _filled(pieces, random, size, system, 0, [["passage", "passage", "passage", "question"], ["answer"]])


def _coding_agent(pieces: Pools, random: Random, size: int) -> Made:
    system = random.sample(pieces["docstring"], 2)
    turns = [["question"], ["answer", "use"], ["page"], ["fenced", "use"], ["page"], ["use"], ["found"]]
    return _filled(pieces, random, size, system, random.randint(2, 12), turns)


def _json_agent(pieces: Pools, random: Random, size: int) -> Made:
    system = [random.choice(pieces["policy"])]
    turns = [["said"], ["use"], ["result"], ["answer"], ["said"], ["answer", "use"], ["result"]]
    return _filled(pieces, random, size, system, random.randint(3, 20), turns)


def _everything(pieces: Pools, random: Random, size: int) -> Made:
    system = [random.choice(pieces["policy"]), random.choice(pieces["docstring"])]
    user = ["question", "passage", "code", "page", "result", "found", "said"]
    turns = [[random.choice(user)] if number % 2 == 0 else ["answer", "use"] for number in range(12)]
    return _filled(pieces, random, size, system, random.randint(0, 10), turns)


def _filled(pieces: Pools, random: Random, size: int, system: list[Piece], tools: int, turns: list[list[str]]) -> Made:
    """A prompt of that many bytes, give or take a piece; the turns come round again and again."""
    specs = random.sample(pieces["spec"], tools)
    left = size - sum(len(piece.text) for piece in (*specs, *system))
    messages: list[list[Piece]] = []
    while left > 0 or len(messages) % 2 == 0:
        message = [random.choice(pieces[name]) for name in turns[len(messages) % len(turns)]]
        messages.append(message)
        left -= sum(len(piece.text) for piece in message)
    request: dict[str, Any] = {
        "system": [piece.block for piece in system],
        "messages": [
            {"role": ("user", "assistant")[number % 2], "content": [piece.block for piece in message]}
            for number, message in enumerate(messages)
        ],
    }
    if specs:
        request["toolConfig"] = {"tools": [piece.block for piece in specs]}
    every = (*specs, *system, *(piece for message in messages for piece in message))
    return Made(request, tuple(piece.text for piece in every))


def _in_half(name: str, test: bool) -> bool:
    return bool(crc32(name.encode()) % 2) == test


def _text(text: str) -> Piece:
    return Piece({"text": text}, text)


def _result(text: str) -> Piece:
    content = [{"text": text}]
    return Piece({"toolResult": {"toolUseId": f"tooluse_{crc32(text.encode()):032x}", "content": content}}, text)


def _questions(data: Path, test: bool) -> Iterator[str]:
    for name in QUESTIONS:
        asked = pq.read_table(data / "routing" / f"{name}.parquet", columns=["prompt"])["prompt"].to_pylist()
        # A question may stand in two files; which half it is in goes by its words.
        yield from (text for text in asked[:1500] if _in_half(text, test))


def _passages(data: Path, test: bool) -> Iterator[str]:
    with gzip.open(data / "traces" / "mtrag_conversations.json.gz") as file:
        for title, text in json.load(file)["docs"].values():
            if _in_half(title, test):
                yield text


def _modules(test: bool) -> Iterator[str]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(folder.glob("*.py")):
        if _in_half(path.name, test):
            yield path.read_text(encoding="utf-8", errors="replace")


def _code(test: bool) -> Iterator[str]:
    random = Random(test)
    for source in _modules(test):
        lines = source.splitlines(keepends=True)
        while lines:
            take = random.randint(10, 200)
            yield "".join(lines[:take])
            lines = lines[take:]


def _docstrings(test: bool) -> Iterator[str]:
    for source in _modules(test):
        tree = ast.parse(source)
        told = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef)]
        text = "\n\n".join(one for one in told if one)
        if len(text) > 400:
            yield text[:6_000]


def _specs(test: bool) -> Iterator[Piece]:
    """The operations of AWS services as tools: name, documentation and input schema are real."""
    folder = Path(botocore.__file__).parent / "data"
    services = [
        name for name in sorted(path.name for path in folder.iterdir() if path.is_dir()) if _in_half(name, test)
    ]
    for name in services[:: max(1, len(services) // 40)]:
        path = next((folder / name).glob("*/service-2.json.gz"), None)
        if path is None:
            continue
        with gzip.open(path) as file:
            service = json.load(file)
        for operation in list(service["operations"].values())[:30]:
            if "input" in operation:
                yield _spec(service["shapes"], operation)


def _spec(shapes: dict[str, Any], operation: dict[str, Any]) -> Piece:
    description = operation.get("documentation", "")[:800]
    schema = _schema(shapes, operation["input"]["shape"], depth=2)
    name = operation["name"]
    text = json.dumps({"name": name, "description": description, "parameters": schema}, ensure_ascii=False)
    return Piece({"toolSpec": {"name": name, "description": description, "inputSchema": {"json": schema}}}, text)


def _schema(shapes: dict[str, Any], name: str, depth: int) -> dict[str, Any]:
    shape = shapes[name]
    kinds = {"structure": "object", "list": "array", "integer": "integer", "long": "integer", "boolean": "boolean"}
    schema: dict[str, Any] = {"type": kinds.get(shape["type"], "string")}
    if "enum" in shape:
        schema["enum"] = shape["enum"][:12]
    if shape["type"] == "structure" and depth:
        members = list(shape["members"].items())[:12]
        schema["properties"] = {
            key: {**_schema(shapes, member["shape"], depth - 1), "description": member.get("documentation", "")[:200]}
            for key, member in members
        }
        schema["required"] = shape.get("required", [])
    if shape["type"] == "list" and depth:
        schema["items"] = _schema(shapes, shape["member"]["shape"], depth - 1)
    return schema


def _tau(data: Path, test: bool) -> Pools:
    """What users, assistants and tools said in the trajectories of the airline's agent."""
    made: Pools = {"said": [], "answer": [], "use": [], "result": [], "policy": []}
    with gzip.open(data / "traces" / "tau_bench_gpt4o_airline.jsonl.gz") as file:
        rows = [json.loads(line) for line in file]
    for message in _messages(row for row in rows if _in_half(f"task {row['task_id']}", test)):
        for call in message["tool_calls"] or ():
            made["use"].append(_use(call["name"], json.loads(call["arguments"])))
        if message["role"] == "tool":
            made["result"].append(_result(_maybe_indented(message["content"])))
        elif message["content"] and message["role"] in ("user", "assistant"):
            made["said" if message["role"] == "user" else "answer"].append(_text(message["content"]))
    policy = json.loads((data / "traces" / "tau_airline_policy.json").read_text())
    # The one policy is cut in two, so that neither half has seen the other's system prompt.
    middle = policy.index("\n", len(policy) // 2)
    made["policy"] = [_text(policy[middle:] if test else policy[:middle])]
    return made


def _messages(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield from row["traj"]


def _use(name: str, arguments: dict[str, Any]) -> Piece:
    use = {"toolUseId": f"tooluse_{crc32(repr(arguments).encode()):032x}", "name": name, "input": arguments}
    return Piece({"toolUse": use}, json.dumps({"name": name, "input": arguments}, ensure_ascii=False))


def _maybe_indented(content: str) -> str:
    """Some tools indent their JSON: here every third."""
    if crc32(content.encode()) % 3 or not content.startswith(("{", "[")):
        return content
    try:
        return json.dumps(json.loads(content), indent=2, ensure_ascii=False)
    except ValueError:
        return content
