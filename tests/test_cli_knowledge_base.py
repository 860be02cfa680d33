"""`pointsman local --knowledge-base`: folders that are served, and what can't be."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from pointsman.cli import main


def test_folders_are_served_under_their_ids(tmp_path: Path) -> None:
    """Several, by one endpoint, which says so."""
    options = []
    for name, text in (("HANDBOOK01", "The signalman sets the points."), ("TIMETABLE1", "The last train is at ten.")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(text)
        options += ["--knowledge-base", f"{name}={tmp_path / name}"]
    command = [sys.executable, "-m", "pointsman", "local", "--engine", "extract", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(3)]
            (url,) = re.findall(r"Listening at (\S+) ", lines[0])
            assert "HANDBOOK01, TIMETABLE1" in lines[2]
            client = boto3.client(
                "bedrock-agent-runtime",
                endpoint_url=url,
                region_name="us-east-1",
                aws_access_key_id="local",
                aws_secret_access_key="local",
            )
            reply = client.retrieve(knowledgeBaseId="TIMETABLE1", retrievalQuery={"text": "When is the last train?"})
        finally:
            process.terminate()
    assert [result["content"]["text"] for result in reply["retrievalResults"]] == ["The last train is at ten."]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("HANDBOOK01", "not of the form NAME=VALUE"),
        ("HANDBOOK01=nowhere", "nowhere: no such folder"),
        ("HANDBOOK01=.", "no text to read"),
        ("handbook=.", "ten letters and digits"),
    ],
)
def test_what_cant_be_served_is_told_in_one_line(
    option: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the exit code 2, before it listens."""
    monkeypatch.chdir(tmp_path)
    assert main(["local", "--engine", "extract", "--port", "0", "--knowledge-base", option]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
