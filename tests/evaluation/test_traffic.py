"""Traces as outlines: every boundary that a client knew, none that it learnt later, and one digest for one prefix."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Block, InvalidRequestError, Outline
from pointsman.evaluation.traffic import (
    RecordedRequest,
    coding_session,
    interleaved,
    mooncake_requests,
    mtrag_sessions,
    one_after_another,
    read_traffic,
    tau_session,
)

SIZE, TOOLS, SYSTEM = 64, 100, 150
STATIC = TOOLS + SYSTEM
LAST_MESSAGE = 256

Path_ = tuple[int, ...]


def common(one: Path_, other: Path_) -> int:
    """How many blocks two prompts share at their start."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


@st.composite
def paths(draw: st.DrawFn) -> list[Path_]:
    """Prompts of one session as block ids: each goes on from some place in an earlier one, or begins anew."""
    drawn: list[Path_] = [tuple(range(draw(st.integers(5, 12))))]
    for number in range(draw(st.integers(1, 7))):
        before = draw(st.sampled_from(drawn))
        kept = draw(st.integers(0, len(before)) | st.just(len(before)))
        new = draw(st.integers(0, 8))
        fresh = tuple(1000 * (number + 1) + i for i in range(new))
        drawn.append((before[:kept] + fresh) if kept + new >= 5 else before + fresh)
    return drawn


def told(prompts: list[Path_], rests: list[int], *, latest: bool = False) -> dict[str, Any]:
    """The same session as the trace tells it: of parents that share as much, the first or the latest."""
    requests = []
    for index, path in enumerate(prompts):
        shared = [common(path, earlier) for earlier in prompts[:index]]
        best = max(shared, default=0)
        parents = [earlier for earlier, blocks in enumerate(shared) if blocks == best] or [-1]
        parent = parents[-1 if latest else 0]
        tokens = len(path) * SIZE + rests[index % len(rests)]
        requests.append([float(index), "m", tokens, 7, len(path), parent, best, 0, 1.0, "text", "end_turn"])
    return {"id": "s", "bs": SIZE, "tool": TOOLS, "sys": SYSTEM, "reqs": requests}


def known_cuts(prompts: list[Path_], index: int) -> list[int]:
    """By the letter: what the client knew when it sent that request, in tokens."""
    path, end = prompts[index], len(prompts[index]) * SIZE
    partings = [common(path, earlier) for earlier in prompts[:index]]
    for one, other in combinations(range(index), 2):
        parted = common(prompts[one], prompts[other])
        if parted <= min(common(path, prompts[one]), common(path, prompts[other])):
            partings.append(parted)
    cuts = {TOOLS, STATIC, end} | {parted * SIZE for parted in partings}
    for earlier in [*prompts[:index], path]:
        tail = len(earlier) * SIZE - LAST_MESSAGE
        if tail > STATIC and tail <= common(path, earlier) * SIZE:
            cuts.add(tail)
    return sorted(cut for cut in cuts if 0 < cut <= end)


class TestCodingSessions:
    @settings(max_examples=300, deadline=None)
    @given(paths(), st.lists(st.integers(0, 63), min_size=1, max_size=4), st.booleans())
    def test_an_outline_has_just_the_cuts_that_were_known(
        self, prompts: list[Path_], rests: list[int], latest: bool
    ) -> None:
        """Ends, partings, tails of what was sent before, and no others: nothing of what comes later."""
        for index, request in enumerate(coding_session(told(prompts, rests, latest=latest))):
            end = len(prompts[index]) * SIZE
            assert [cut for cut in request.outline.sums if cut <= end] == known_cuts(prompts, index)

    @settings(max_examples=200, deadline=None)
    @given(paths())
    def test_later_requests_change_nothing(self, prompts: list[Path_]) -> None:
        """A session that is cut off gives the same outlines."""
        whole = coding_session(told(prompts, [10]))
        for count in range(1, len(prompts)):
            assert coding_session(told(prompts[:count], [10])) == whole[:count]

    @settings(max_examples=200, deadline=None)
    @given(paths(), st.booleans())
    def test_one_digest_is_one_prefix(self, prompts: list[Path_], latest: bool) -> None:
        """Two requests have the same digest at a place exactly if all blocks up to it are the same."""
        requests = coding_session(told(prompts, [10], latest=latest))
        for one, other in combinations(range(len(prompts)), 2):
            theirs = dict(zip(requests[other].outline.sums, requests[other].outline.blocks, strict=True))
            shared = common(prompts[one], prompts[other]) * SIZE
            for cut, block in zip(requests[one].outline.sums[:-1], requests[one].outline.blocks[:-1], strict=True):
                if cut in theirs:
                    assert (theirs[cut].digest == block.digest) == (cut <= shared)

    def test_the_rest_behind_the_last_block_takes_no_point(self) -> None:
        """It belongs to this request alone, as far as anybody knows; its tokens count."""
        (request,) = coding_session(told([tuple(range(10))], [17]))
        *_, last_full, rest = request.outline.blocks
        assert (last_full.kind, rest.kind, rest.tokens) == ("text", "reasoning", 17)
        assert request.outline.tokens == 10 * SIZE + 17
        assert [block.section for block in request.outline.blocks] == ["tools", "system", *["messages"] * 3]

    def test_sub_agents_are_left_out(self) -> None:
        """Only the main chain is one conversation."""
        session = told([(1, 2, 3, 4, 5), (9, 8, 7, 6, 5)], [0])
        session["reqs"][1][7] = 1
        assert len(coding_session(session)) == 1

    def test_digests_of_two_sessions_have_nothing_in_common(self) -> None:
        """Block ids are local to a session."""
        one = told([(1, 2, 3, 4, 5)], [0])
        digests = [{b.digest for b in r.outline.blocks} for s in (one, {**one, "id": "t"}) for r in coding_session(s)]
        assert not digests[0] & digests[1]


def chat(*requests: tuple[list[int], int]) -> list[RecordedRequest]:
    """Mooncake's requests: hashes, and tokens behind the full blocks."""
    return list(
        mooncake_requests(
            {"timestamp": 1000 * at, "input_length": 512 * (len(ids) - bool(rest)) + rest, "output_length": 5}
            | {"hash_ids": ids}
            for at, (ids, rest) in enumerate(requests)
        )
    )


class TestMooncake:
    def test_cuts_are_ends_partings_and_tails_of_earlier_requests(self) -> None:
        """The second request parts from the first behind block 2; only the third can know of both."""
        first, second, third = chat(([1, 2, 3, 4], 0), ([1, 2, 5, 6, 9], 100), ([1, 2, 3, 4, 7], 0))
        assert first.outline.sums == (1536, 2048)
        assert second.outline.sums == (1024, 1536, 2048, 2148)
        assert third.outline.sums == (1024, 1536, 2048, 2560)
        assert first.outline.blocks[-1].digest == third.outline.blocks[2].digest
        assert second.outline.blocks[0].digest == third.outline.blocks[0].digest

    def test_who_extends_a_whole_prompt_goes_on_with_its_session(self) -> None:
        """Once: another that starts alike is a conversation of its own."""
        requests = chat(([1, 2], 0), ([1, 2, 3], 0), ([1, 2, 4], 0), ([1, 2, 3, 5], 0), ([9], 0))
        assert [one.session for one in requests] == ["0", "0", "2", "0", "4"]

    def test_times_are_seconds(self) -> None:
        """The trace has milliseconds."""
        assert [one.at for one in chat(([1], 0), ([2], 0))] == [0.0, 1.0]


def request(session: str, at: float) -> RecordedRequest:
    """Of one block."""
    return RecordedRequest(session, at, "m", Outline.of_blocks([Block("messages", "user", "text", b"1", 5)]))


class TestTimelines:
    def test_one_after_another_leaves_a_gap_longer_than_any_ttl(self) -> None:
        """Each session keeps its own gaps."""
        sessions = [[request("a", 5.0), request("a", 9.0)], [], [request("b", 0.0), request("b", 1.0)]]
        assert [one.at for one in one_after_another(sessions, gap=100.0)] == [0.0, 4.0, 104.0, 105.0]

    def test_interleaved_is_ordered_and_the_same_for_a_seed(self) -> None:
        """And another one for another seed."""
        sessions = [[request(str(i), 0.0), request(str(i), 900.0)] for i in range(20)]
        drawn = interleaved(sessions, within=1000.0, seed=1)
        assert drawn == interleaved(sessions, within=1000.0, seed=1) != interleaved(sessions, within=1000.0, seed=2)
        assert [one.at for one in drawn] == sorted(one.at for one in drawn)
        assert [one.session for one in drawn] != [str(i) for i in range(20) for _ in range(2)]


RAG = {
    "conversations": [
        {
            "messages": [
                {"s": "u", "t": 100, "text": "What is a hash?"},
                {"s": "a", "t": 110, "text": "A digest.", "docs": [["1", 3.0], ["2", 2.0]]},
                {"s": "u", "t": 500, "text": "And a salt?"},
                {"s": "a", "t": 510, "text": "Noise.", "docs": [["2", 3.0]]},
            ]
        }
    ],
    "docs": {"1": ["one", "Hashes are short. " * 30], "2": ["two", "Salts are random. " * 30]},
}


class TestConversations:
    def test_retrieved_passages_stand_in_the_last_message_only(self) -> None:
        """So that what two turns share ends with the history, before the first turn's documents."""
        ((first, second),) = mtrag_sessions(RAG)
        shared = {block.digest for block in first.outline.blocks} & {block.digest for block in second.outline.blocks}
        assert [block.tokens for block in first.outline.blocks if block.digest in shared] == [1500]
        assert [block.role for block in second.outline.blocks] == [None, "user", "assistant", "user", "user"]
        assert (first.at, second.at) == (100.0, 500.0)

    def test_a_chat_goes_on_faster_than_the_annotators(self) -> None:
        """From the same start, by a seed."""
        ((first, second),) = mtrag_sessions(RAG, clock="chat", seed=3)
        assert first.at == 100.0
        assert 100.0 < second.at < 500.0
        assert [[first, second]] == mtrag_sessions(RAG, clock="chat", seed=3)

    def test_an_agent_asks_before_each_of_its_replies(self) -> None:
        """Each request extends the one before; a tool's result comes at once, a person takes time."""
        call = [{"name": "find", "arguments": "{}"}]
        trajectory = [
            {"role": "system", "content": None, "tool_calls": None},
            {"role": "user", "content": "Find it.", "tool_calls": None},
            {"role": "assistant", "content": None, "tool_calls": call},
            {"role": "tool", "content": "42", "tool_calls": None},
            {"role": "assistant", "content": "It is 42.", "tool_calls": None},
        ]
        first, second = tau_session({"task_id": 1, "trial": 0, "traj": trajectory}, "Be polite.")
        assert [block.section for block in first.outline.blocks] == ["tools", "system", "messages"]
        assert first.outline.blocks == second.outline.blocks[:3]
        assert second.outline.blocks[-1].kind == "tool_result"
        assert 0 < second.at - first.at < 60


CHAT_LINE = b'{"hash_ids": [1, 2], "input_length": 600, "output_length": 1, "timestamp": 0}\n'


def written(path: Path, lines: list[Any]) -> Path:
    """A JSONL file, packed if its name says so."""
    data = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


class TestFiles:
    @pytest.mark.parametrize("name", ["one.jsonl", "one.jsonl.gz", "named-wrongly.gz.txt"])
    def test_the_format_is_told_by_the_content(self, tmp_path: Path, name: str) -> None:
        """Packed or not, whatever the file is called."""
        path = written(tmp_path / name, [told([(1, 2, 3, 4, 5)], [0]), {**told([(1, 2, 3, 4, 5)], [0]), "id": "t"}])
        assert [(one.session, one.at) for one in read_traffic(path)] == [("s", 0.0), ("t", 7200.0)]

    def test_sessions_can_be_interleaved(self, tmp_path: Path) -> None:
        """By the timeline that is named."""
        path = written(tmp_path / "a.jsonl", [{**told([(1, 2, 3, 4, 5)], [0]), "id": str(i)} for i in range(9)])
        assert [one.at for one in read_traffic(path, timeline=interleaved)] != [7200.0 * i for i in range(9)]

    def test_other_traces_are_known_too(self, tmp_path: Path) -> None:
        """Mooncake's, MTRAG's, and tau-bench's with its policy beside it."""
        line = {"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}
        assert len(list(read_traffic(written(tmp_path / "mooncake.jsonl", [line, line])))) == 2
        assert len(list(read_traffic(written(tmp_path / "mtrag.json.gz", [RAG])))) == 2
        tau = written(tmp_path / "tau.jsonl", [{"task_id": 1, "trial": 0, "traj": []}])
        with pytest.raises(InvalidRequestError, match="policy is needed beside it"):
            list(read_traffic(tau))
        (tmp_path / "tau_airline_policy.json").write_text('"Be polite."')
        assert list(read_traffic(tau)) == []

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "there is nothing in it"),
            (b"\n\n{}\n", "there is nothing in it"),
            (b"not json\nnor this\n", "line 1: it is no JSON: "),
            (CHAT_LINE + b"[]\n", "line 2: it is no JSON object"),
            (b'{"hash_ids": [1]}\n', "line 1: it has no 'input_length'"),
            (b'{"prompt": "?"}\n', "line 1: this is none of Pointsman's traces, Bedrock's"),
            (gzip.compress(CHAT_LINE * 99)[:-12], "it can't be read"),
        ],
    )
    def test_what_cant_be_read_is_told_with_its_line(self, tmp_path: Path, content: bytes, says: str) -> None:
        """Before anything is billed on half a log."""
        path = tmp_path / "log"
        path.write_bytes(content)
        with pytest.raises(InvalidRequestError, match=str(path)) as refused:
            list(read_traffic(path))
        assert says in str(refused.value)

    @pytest.mark.parametrize("content", [CHAT_LINE * 2 + b'{"timestamp": 1', b"2026 not json\n" + CHAT_LINE * 2])
    def test_a_line_that_is_no_json_is_counted(self, tmp_path: Path, content: bytes) -> None:
        """Such as the last one of a log that is being written."""
        path = tmp_path / "log"
        path.write_bytes(content)
        skipped: Counter[str] = Counter()
        assert len(list(read_traffic(path, skipped=skipped))) == 2
        assert skipped == {"they are no JSON": 1}

    def test_sessions_of_several_files_have_names_of_their_own(self, tmp_path: Path) -> None:
        """Each public trace numbers them from the start."""
        line = {"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}
        files = [written(tmp_path / name, [line]) for name in ("a.jsonl", "b.jsonl")]
        assert len({request.session for request in read_traffic(*files)}) == 2

    def test_a_file_that_isnt_there_is_told(self, tmp_path: Path) -> None:
        """By its name."""
        with pytest.raises(InvalidRequestError, match=r"missing\.jsonl, line 1: it can't be read: No such file"):
            list(read_traffic(tmp_path / "missing.jsonl"))

    def test_a_folder_is_all_its_files(self, tmp_path: Path) -> None:
        """As S3 delivers logs: many small ones, in folders by the hour."""
        line = {"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}
        (tmp_path / "14").mkdir()
        written(tmp_path / "14" / "a.json.gz", [line])
        written(tmp_path / "b.json", [line])
        (tmp_path / "permissions.txt").write_text("no log")
        assert len(list(read_traffic(tmp_path))) == 2
        (tmp_path / "empty").mkdir()
        with pytest.raises(InvalidRequestError, match="no file in it ends in"):
            list(read_traffic(tmp_path / "empty"))
