"""Markup found by means of a template, for templates of several kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pointsman.local.chat_markup import SEPARATOR, ChatMarkup
from pointsman.local.engines import RenderedBlock

TOOL = RenderedBlock(section="tools", kind="tool", text="{}")
SYSTEM = RenderedBlock(section="system", kind="text", text="Be brief.")
GUIDE = RenderedBlock(section="messages", role="user", kind="document", text="A guide.", message=0)
QUESTION = RenderedBlock(section="messages", role="user", kind="text", text="Why?", message=0)
ANSWER = RenderedBlock(section="messages", role="assistant", kind="text", text="So.", message=1)
AGAIN = RenderedBlock(section="messages", role="user", kind="text", text="Oh?", message=2)


def chatml(messages: Sequence[Mapping[str, str]]) -> str:
    """As most models have it, with a system message of its own where none is given."""
    lead = "" if messages[0]["role"] == "system" else "<|system\nI am a model.|>\n"
    return lead + "".join(f"<|{m['role']}\n{m['content']}|>\n" for m in messages) + "<|assistant\n"


def folding(messages: Sequence[Mapping[str, str]]) -> str:
    """As Gemma has it: the system's text stands first in the user's message."""
    first, *rest = messages
    if first["role"] == "system":
        rest[0] = {"role": "user", "content": f"{first['content']}\n\n{rest[0]['content']}"}
    else:
        rest = [first, *rest]
    return "^" + "".join(f"[{m['role']}]{m['content']}[end]" for m in rest) + "[model]"


def refusing(messages: Sequence[Mapping[str, str]]) -> str:
    """As some early models have it."""
    if messages[0]["role"] == "system":
        raise ValueError("System role not supported")
    return folding(messages)


def laid(markup: ChatMarkup, *blocks: RenderedBlock) -> str:
    """The prompt as the model reads it."""
    pairs = zip(markup.before(blocks), blocks, strict=True)
    return "".join(mark + block.text for mark, block in pairs) + markup.behind(blocks)


@pytest.mark.parametrize("template", [chatml, folding, refusing])
def test_a_conversation_reads_as_the_template_has_it(template: object) -> None:
    """Without and with an answer between; a refused system text becomes the user's."""
    markup = ChatMarkup.of_template(template)  # type: ignore[arg-type]
    conversation = [{"role": "user", "content": "Why?"}]
    assert laid(markup, QUESTION) == template(conversation)  # type: ignore[operator]
    conversation += [{"role": "assistant", "content": "So."}, {"role": "user", "content": "Oh?"}]
    assert laid(markup, QUESTION, ANSWER, AGAIN) == template(conversation)  # type: ignore[operator]
    accepts = chatml if template is chatml else folding
    whole = accepts([{"role": "system", "content": "Be brief."}, *conversation])
    assert laid(markup, SYSTEM, QUESTION, ANSWER, AGAIN) == whole


def test_blocks_of_one_message_are_separated_and_tools_stand_in_the_system_message() -> None:
    """Their markup is written once."""
    markup = ChatMarkup.of_template(chatml)
    marks = markup.before((TOOL, SYSTEM, GUIDE, QUESTION, ANSWER))
    assert marks[1] == marks[3] == SEPARATOR
    assert marks[0] == "<|system\n" and marks[2] == "|>\n<|user\n" and marks[4] == "|>\n<|assistant\n"


def test_a_prefix_does_not_depend_on_what_follows() -> None:
    """What closes a message is written by the block that opens the next."""
    markup = ChatMarkup.of_template(chatml)
    blocks = (TOOL, SYSTEM, GUIDE, QUESTION, ANSWER, AGAIN)
    for cut in range(len(blocks)):
        assert markup.before(blocks[:cut]) == markup.before(blocks)[:cut]


def test_a_begun_answer_is_not_ended() -> None:
    """The model goes on where the assistant's text stops."""
    assert ChatMarkup.of_template(chatml).behind((QUESTION, ANSWER)) == ""


def test_a_template_that_loses_text_is_refused() -> None:
    """Marks cannot be found around words that are not there."""
    with pytest.raises(ValueError, match="lost the text"):
        ChatMarkup.of_template(lambda messages: messages[0]["content"])
