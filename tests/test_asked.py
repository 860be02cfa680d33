"""Requests from files: which are read, how they are told from others, and what stands beside them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from broken_conversations import HAIKU, RULES, assistant, messages, request, user

from pointsman import InvalidRequestError, Usage
from pointsman.evaluation.asked import in_order, read_log, read_requests, untimed
from pointsman.evaluation.causes import Sent
from pointsman.evaluation.shapes import EXAMPLE

BLOCK = {"text": "Hi"}


def written(path: Path, told: Any) -> Path:
    """A file of JSON, or of JSON lines."""
    lines = "".join(f"{json.dumps(one)}\n" for one in told) if path.suffix == ".jsonl" else json.dumps(told, indent=1)
    path.write_text(lines)
    return path


def logged(*files: Path) -> tuple[list[Sent], Counter[str]]:
    """The requests of files, and what was passed over."""
    skipped: Counter[str] = Counter()
    return read_log(*files, skipped=skipped), skipped


class TestShapes:
    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"messages": None}, "messages is nothing, and should be a list"),
            ({"messages": {"role": "user"}}, "messages is an object, and should be a list"),
            ({"messages": ["Hi"]}, "messages[0] is a text, and should be an object"),
            ({"messages": [{"content": [BLOCK]}]}, "messages[0]: it has no 'role'"),
            ({"messages": [{"role": "user", "content": "Hi"}]}, "messages[0].content is no list of blocks, but a text"),
            ({"messages": [user("Hi"), {"role": "assistant", "content": [{}]}]}, "blocks: [0] is an empty object"),
            ({"messages": [user(5)]}, "messages[0].content[0].text is a number, and should be a text"),  # type: ignore[arg-type]  # the mistake
            ({"messages": [{"role": "user", "content": [{"image": None}]}]}, "content[0].image is nothing"),
            (
                {"messages": [{"role": "user", "content": [{"toolResult": {"content": "8"}}]}]},
                "toolResult.content is no",
            ),
            ({"system": "Be brief."}, "system is no list of blocks, but a text"),
            ({"toolConfig": [{"toolSpec": {}}]}, "toolConfig is a list, and should be an object"),
            ({"toolConfig": {"tools": {}}}, "toolConfig.tools is no list of blocks, but an object"),
            ({"modelId": 5}, "modelId is a number, and should be a text"),
        ],
    )
    def test_what_is_of_no_shape_is_named(self, tmp_path: Path, changed: dict[str, Any], says: str) -> None:
        """The field and what stands there, never its text; and how it should be."""
        with pytest.raises(InvalidRequestError) as raised:
            read_requests(written(tmp_path / "one.json", request(0, **changed)))
        assert says in str(raised.value) and EXAMPLE in str(raised.value)

    @pytest.mark.parametrize(
        ("told", "says"),
        [
            ({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [user("Hi")]}, "InvokeModel"),
            ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, "InvokeModel or OpenAI"),
            ({"model": "gpt", "tools": [], "messages": [{"role": "user", "content": "Hi"}]}, "InvokeModel or OpenAI"),
            ({"messages": [{"type": "human", "content": "Hi"}]}, "LangChain's shape"),
            ({"messages": [{"lc": 1, "type": "constructor", "kwargs": {"content": "Hi"}}]}, "LangChain's shape"),
            ({"modelId": HAIKU, "body": "{}"}, "it has no messages"),
        ],
    )
    def test_another_shape_is_told_by_its_name(self, tmp_path: Path, told: Any, says: str) -> None:
        """In one line, with the shape that is read."""
        with pytest.raises(InvalidRequestError) as raised:
            read_requests(written(tmp_path / "one.json", told))
        assert says in str(raised.value) and EXAMPLE in str(raised.value)

    def test_all_blocks_of_converse_are_taken(self, tmp_path: Path) -> None:
        """What a tool returns as JSON may be anything."""
        results = [{"json": [1, "two"]}, {"text": "three"}]
        used = assistant("I look.")
        used["content"].append({"toolUse": {"toolUseId": "a", "name": "arrivals", "input": {}}})
        told = [
            user("When?"),
            used,
            {"role": "user", "content": [{"toolResult": {"toolUseId": "a", "content": results}}]},
        ]
        assert read_requests(written(tmp_path / "one.json", request(0, messages=told)))


class TestFiles:
    @pytest.mark.parametrize("text", ["", "\n \n"])
    def test_an_empty_file_is_said_to_be(self, tmp_path: Path, text: str) -> None:
        """Whatever its name."""
        for name in ("empty.json", "empty.jsonl"):
            (tmp_path / name).write_text(text)
            with pytest.raises(InvalidRequestError, match="there is nothing in it"):
                read_requests(tmp_path / name)

    def test_documents_and_lines_may_be_beside_each_other(self, tmp_path: Path) -> None:
        """One request, a list of them, and a log; as JSON is usually written."""
        files = [
            written(tmp_path / "one.json", request(0)),
            written(tmp_path / "list.json", [request(1), request(2)]),
            written(tmp_path / "log.jsonl", [request(3), request(4)]),
        ]
        requests, skipped = logged(*files)
        assert [one.recorded.at for one in requests] == [0.0, 60.0, 120.0, 180.0, 240.0]
        assert {one.recorded.session for one in requests} == {"1"}
        assert not skipped

    def test_lines_in_a_file_that_calls_itself_json_are_read(self, tmp_path: Path) -> None:
        """A document that is broken isn't taken for them."""
        path = tmp_path / "log.json"
        path.write_text("".join(f"{json.dumps(request(turn))}\n" for turn in range(2)))
        assert read_requests(path) is None
        path.write_text(json.dumps(request(0), indent=1)[:-3])
        with pytest.raises(InvalidRequestError, match="it is no JSON"):
            read_requests(path)

    def test_a_line_that_was_half_written_is_counted(self, tmp_path: Path) -> None:
        """All the others are read."""
        path = written(tmp_path / "log.jsonl", [request(0), request(1)])
        path.write_text(path.read_text() + json.dumps(request(2))[:99])
        requests, skipped = logged(path)
        assert len(requests) == 2
        assert skipped == {"they are no JSON": 1}


class TestSessions:
    def test_unrelated_requests_of_several_files_are_unrelated(self, tmp_path: Path) -> None:
        """Whatever kinds of files they are in."""
        asked = [[user(f"{word} {RULES[:200]}")] for word in ("One", "Two", "Three", "Four")]
        one, two, three, four = [request(0, system=[], toolConfig=None, messages=of) for of in asked]
        invocation = {
            "schemaType": "ModelInvocationLog",
            "timestamp": "2026-11-24T10:00:00Z",
            "operation": "Converse",
            "modelId": HAIKU,
            "input": {"inputBodyJson": four},
        }
        chat = {"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}
        files = [
            written(tmp_path / "one.json", one),
            written(tmp_path / "list.json", [two]),
            written(tmp_path / "log.jsonl", [three, three]),
            written(tmp_path / "invocations.jsonl", [invocation, {**invocation, "input": {"inputBodyJson": one}}]),
            written(tmp_path / "chat.jsonl", [chat]),
        ]
        sessions = [one.recorded.session for one in logged(*files)[0]]
        assert len(sessions) == 7
        assert len(set(sessions)) == 6, "only the first request comes again, and three goes on"

    def test_a_session_that_is_told_is_believed(self, tmp_path: Path) -> None:
        """Beside the request."""
        lines = [{"session": name, "request": request(0)} for name in ("a", "b")]
        requests, _ = logged(written(tmp_path / "log.jsonl", lines))
        assert [one.recorded.session for one in requests] == ["a", "b"]


class TestTimes:
    @pytest.mark.parametrize("field", ["at", "timestamp"])
    @pytest.mark.parametrize(
        "time", [1795511111, 1795511111.0, 1795511111000, "2026-11-24T09:05:11Z", "2026-11-24T10:05:11+01:00"]
    )
    def test_a_time_may_be_told_in_any_way(self, tmp_path: Path, field: str, time: Any) -> None:
        """Seconds, milliseconds, ISO 8601."""
        told = {"messages": messages(1), field: time}
        (one,) = read_requests(written(tmp_path / "one.json", told)) or ()
        assert one.recorded.at == 1795511111.0

    @pytest.mark.parametrize("time", ["soon", [], {}])
    def test_what_is_no_time_is_refused(self, tmp_path: Path, time: Any) -> None:
        """Naming the field."""
        with pytest.raises(InvalidRequestError, match=r"one\.json: at is no time: give seconds, milliseconds, or ISO"):
            read_requests(written(tmp_path / "one.json", {**request(0), "at": time}))

    def test_times_that_arent_told_are_counted_and_made_up(self, tmp_path: Path) -> None:
        """A second after the request before."""
        told = [request(0), {**request(1), "at": None}]
        requests = read_requests(written(tmp_path / "list.json", told)) or []
        assert untimed(requests) == 1
        assert [one.recorded.at for one in in_order(requests)] == [0.0, 1.0]


class TestReplies:
    @pytest.mark.parametrize("name", ["response", "reply"])
    def test_the_usage_that_came_back_is_read(self, tmp_path: Path, name: str) -> None:
        """With the output, and the model that a router has chosen."""
        reply = {
            "usage": {"inputTokens": 20, "outputTokens": 9, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 30},
            "trace": {"promptRouter": {"invokedModelId": HAIKU}},
        }
        router = "arn:aws:bedrock:us-east-1:123412341234:default-prompt-router/anthropic.claude:1"
        told = {"request": request(0, modelId=router), name: reply}
        (one,) = read_requests(written(tmp_path / "one.json", told)) or ()
        assert one.recorded.usage == Usage(
            input_tokens=150, cache_read_tokens=100, cache_write_tokens=30, output_tokens=9
        )
        assert (one.recorded.output_tokens, one.recorded.model) == (9, HAIKU)

    def test_without_a_reply_the_usage_is_unknown(self, tmp_path: Path) -> None:
        """Unknown isn't zero."""
        (one,) = read_requests(written(tmp_path / "one.json", request(0))) or ()
        assert one.recorded.usage is None
