"""A trained predictor: fitted, saved, loaded, asked; silent where it knows nothing; and files that are none."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import orjson
import pytest

pytest.importorskip("sklearn")

from pointsman import Catalog, Ledger, Prompt, Router, RoutingCriteria
from pointsman.errors import InvalidRequestError, MissingExtraError
from pointsman.routing import Prediction
from pointsman.routing.trained import TrainedPredictor
from pointsman.tokens import EstimatedTokens

CATALOG = Catalog.default()
HAIKU, OPUS = (CATALOG.resolve(f"anthropic.claude-{name}-5-5") for name in ("haiku", "opus"))
UNKNOWN = CATALOG.resolve("meta.llama3-1-8b-instruct-v1:0")

N = 160
TOPICS = (
    "the brakes of a train", "a wooden bridge", "the night signal", "an old ledger", "the long tunnel",
    "a set of points", "the northern platform", "a steam whistle", "the station clock", "a freight wagon",
)  # fmt: skip
EASY = "What is the purpose of {} on a small railway?"
HARD = "Suppose that {} fails after {} hours and 3 trains follow; prove which of them can still arrive in time."
PROMPTS = [
    HARD.format(TOPICS[i // 2 % 10], i % 7 + 2) if i % 2 else f"{EASY.format(TOPICS[i // 2 % 10])} Reply to point {i}."
    for i in range(N)
]
FAMILIAR = [EASY.format("an old ledger") + " Reply to point 4.", HARD.format("the long tunnel", 5)]
CHINESE = "今天下午从柏林开往慕尼黑的火车几点出发?请把所有的车次都列出来,并说明需要换乘几次。"


def outcomes() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    quality = np.where(np.arange(N) % 2, 0.15, 0.95)
    return {HAIKU.id: (draw.random(N) < quality).astype(float), OPUS.id: np.where(draw.random(N) < 0.95, 1.0, np.nan)}


def fit(**more: object) -> TrainedPredictor:
    tokens = {OPUS.id: np.where(np.arange(N) % 2, 800, 80)}
    told = {"output_tokens": tokens, "name": "Railways", "licence": "CC0", "on": date(2026, 11, 22), **more}
    return TrainedPredictor.fit(PROMPTS, outcomes(), **told)  # type: ignore[arg-type]  # One dict of them all.


@pytest.fixture(scope="module")
def predictor() -> TrainedPredictor:
    return fit()


@pytest.fixture(scope="module")
def saved(predictor: TrainedPredictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heads") / "railways.head"
    predictor.save(path)
    return path


def told(prediction: Prediction) -> tuple[object, ...]:
    """Everything that it says, to the last bit."""
    qualities = {model: values.tobytes() for model, values in prediction.items()}
    tokens = {model: values.tobytes() for model, values in prediction.output_tokens.items()}
    return qualities, tokens, prediction.basis, prediction.resolution


# --- predicting ---------------------------------------------------------------------------------------------------


def test_what_was_planted_is_predicted(predictor: TrainedPredictor) -> None:
    """The cheap model's quality falls from the easy kind to the hard one, the dear one's doesn't; lengths rise."""
    found = predictor.predict(FAMILIAR)
    assert found.basis == ("trained", "trained")
    assert found.resolution == (0.0, 0.0)
    easy, hard = found[HAIKU.id]
    assert easy - hard > 0.4
    assert found[OPUS.id].min() > 0.85
    short, long = found.output_tokens[OPUS.id]
    assert 2 * short < long


def test_a_text_is_predicted_like_the_prompt_of_it(predictor: TrainedPredictor) -> None:
    """Texts are what one has when fitting, requests when routing."""
    prompts = [Prompt.of_text(text) for text in FAMILIAR]
    assert told(predictor.predict(FAMILIAR)) == told(predictor.predict(prompts))


def test_many_prompts_are_predicted_like_one_by_one(predictor: TrainedPredictor) -> None:
    """In their order; and of none, nothing."""
    many = predictor.predict([*FAMILIAR, CHINESE, ""])
    for place, text in enumerate([*FAMILIAR, CHINESE, ""]):
        one = predictor.predict([text])
        for model in predictor.models:
            assert one[model].tolist() == many[model][place : place + 1].tolist()
        assert (one.basis, one.resolution) == (many.basis[place : place + 1], many.resolution[place : place + 1])
    none = predictor.predict([])
    assert [values.shape for values in none.values()] == [(0,), (0,)]
    assert none.basis == ()


def test_some_models_by_id_or_as_they_are(predictor: TrainedPredictor) -> None:
    """In the order asked for, with the same numbers as among all."""
    both = predictor.predict(FAMILIAR)
    assert list(predictor.predict(FAMILIAR, models=[OPUS, HAIKU])) == [OPUS.id, HAIKU.id]
    assert told(predictor.predict(FAMILIAR, models=[HAIKU.id, OPUS.id])) == told(both)
    one = predictor.predict(FAMILIAR, models=[HAIKU])
    assert one[HAIKU.id].tolist() == both[HAIKU.id].tolist()
    assert one.output_tokens == {}


def test_a_name_without_a_head_is_refused(predictor: TrainedPredictor) -> None:
    """With those that there are."""
    with pytest.raises(
        InvalidRequestError, match=f"no head for 'gpt-9' here; there are heads for {HAIKU.id}, {OPUS.id}"
    ):
        predictor.predict(FAMILIAR, models=[HAIKU.id, "gpt-9"])


def test_for_a_router_with_another_model_the_prior_speaks_for_all(predictor: TrainedPredictor) -> None:
    """What a head and the prior say can't be compared."""
    found = predictor.predict(FAMILIAR, models=[HAIKU, UNKNOWN])
    assert set(found) == {HAIKU.id, UNKNOWN.id}
    assert all(basis.startswith("complexity prior") and UNKNOWN.id in basis for basis in found.basis)
    assert found.output_tokens == {}


def test_an_unfamiliar_prompt_is_left_to_the_prior(predictor: TrainedPredictor) -> None:
    """It says why, from which gap on it speaks, and that no length is known."""
    found = predictor.predict([CHINESE, FAMILIAR[0]])
    assert found.basis[0].startswith("complexity prior: another language")
    assert found.basis[1] == "trained"
    assert found.resolution[0] > 0 == found.resolution[1]
    assert np.isnan(found.output_tokens[OPUS.id]).tolist() == [True, False]
    assert all(0 <= values[0] <= 1 for values in found.values())
    assert found[HAIKU.id][0] < found[OPUS.id][0]


@pytest.mark.parametrize("text", ["", " ", "🚂", "\0", "\ud800", "a" * 1_000_000])
def test_any_text_is_predicted(predictor: TrainedPredictor, text: str) -> None:
    """As something from 0 to 1."""
    for values in predictor.predict([text]).values():
        assert 0 <= values[0] <= 1


def test_a_router_decides_by_it(predictor: TrainedPredictor) -> None:
    """The easy prompt goes to the cheap model, the hard one to the dear one; the decision tells what it rests on."""
    router = Router(
        models=[HAIKU.invoke_id],
        fallback_model=OPUS.invoke_id,
        criteria=RoutingCriteria(response_quality_difference=0.2),
        predictor=predictor,
    )
    decisions = []
    for text in FAMILIAR:
        prompt = Prompt.of_text(text)
        outline = prompt.outline(EstimatedTokens())
        candidates = [(model, outline) for model in (HAIKU, OPUS)]
        decisions.append(router.decide(prompt, candidates, ledger=Ledger(), now=0.0))
    assert [decision.model.id for decision in decisions] == [HAIKU.id, OPUS.id]
    assert {(decision.basis, decision.predictor) for decision in decisions} == {("trained", "Railways")}
    assert decisions[0].candidates[1].expected_output_tokens < 400


# --- fitting ------------------------------------------------------------------------------------------------------


def test_a_fit_is_the_same_each_time(predictor: TrainedPredictor) -> None:
    """Heads, calibration, familiarity and card."""
    again = fit()
    assert told(again.predict([*PROMPTS, CHINESE])) == told(predictor.predict([*PROMPTS, CHINESE]))
    assert again.card == predictor.card


def test_a_fit_tells_what_it_is(predictor: TrainedPredictor) -> None:
    """Names, date, licence, prompts, and how good it is on what it was not fitted to."""
    card = predictor.card
    assert (card.name, card.date, card.licence, card.prompts) == ("Railways", "2026-11-22", "CC0", N)
    assert predictor.models == (HAIKU.id, OPUS.id)
    assert predictor.lengths == (OPUS.id,)
    (pair,) = card.pairs
    assert (pair.weak, pair.strong) == (HAIKU.id, OPUS.id)
    assert pair.low > 0.5
    assert predictor.name == "Railways"
    assert fit(name="").name == "TrainedPredictor"


def test_what_does_not_fit_together_is_refused() -> None:
    """Before anything is fitted."""
    with pytest.raises(InvalidRequestError, match="must be"):
        TrainedPredictor.fit(PROMPTS, {"small": [1.0], "large": [1.0]})


def test_labels_of_noise_are_warned_of() -> None:
    """A card that can't be told from chance says so."""
    draw = np.random.default_rng(8)
    noise = {"small": (draw.random(N) < 0.4).astype(float), "large": (draw.random(N) < 0.8).astype(float)}
    warnings = TrainedPredictor.fit(PROMPTS, noise).card.warnings
    assert any("can't be told from chance" in warning for warning in warnings)


def test_prompts_may_hold_anything() -> None:
    """Requests among texts, and half an emoji."""
    odd = [*PROMPTS[:-3], Prompt.of_text("When?"), "\ud83d", ""]
    assert TrainedPredictor.fit(odd, outcomes()).card.prompts == N


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setitem(sys.modules, "pointsman.routing.fitting", None)
    with pytest.raises(MissingExtraError, match=r"pointsman\[fit\]"):
        fit()


# --- files --------------------------------------------------------------------------------------------------------


def test_a_saved_predictor_says_the_same(predictor: TrainedPredictor, saved: Path) -> None:
    """To the last bit, of familiar and of unfamiliar prompts; under the very name that was given."""
    again = TrainedPredictor.load(saved)
    prompts = [*PROMPTS, CHINESE, "", "def f(x): return x"]
    assert told(again.predict(prompts)) == told(predictor.predict(prompts))
    assert again.card == predictor.card
    assert (again.models, again.lengths) == (predictor.models, predictor.lengths)
    assert [path.name for path in saved.parent.iterdir()] == ["railways.head"]


def test_a_file_is_small(saved: Path) -> None:
    """It is meant to be passed on."""
    assert saved.stat().st_size < 300_000


def test_predicting_needs_neither_scikit_learn_nor_scipy(saved: Path) -> None:
    """Nor is anything of the fitting loaded."""
    code = (
        "import sys; from pointsman.routing.trained import TrainedPredictor;"
        "print(*TrainedPredictor.load(sys.argv[1]).predict(['What is a train?']).basis, file=sys.stderr);"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'sklearn', 'scipy', 'pandas', 'matplotlib'})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(saved)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def with_header(data: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """A file whose header is another."""
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file)
    header = change(orjson.loads(arrays["header"].tobytes()))
    written = io.BytesIO()
    np.savez(written, **{**arrays, "header": np.frombuffer(orjson.dumps(header), np.uint8)})
    return written.getvalue()


def without(data: bytes, name: str) -> bytes:
    """A file in which one array lacks."""
    written = io.BytesIO()
    with np.load(io.BytesIO(data)) as file:
        np.savez(written, **{each: file[each] for each in file if each != name})
    return written.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.savez(written, **arrays)
    return written.getvalue()


def npy(array: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()


def spoilt(data: bytes, part: float) -> bytes:
    """From that part of the largest member on, some bytes are others, as after a bad transfer."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = max(archive.infolist(), key=lambda one: one.compress_size)
    name, extra = struct.unpack_from("<26x2H", data, member.header_offset)
    place = member.header_offset + 30 + name + extra + int(part * member.compress_size)
    return data[:place] + b"\xff" * 16 + data[place + 16 :]


BAD: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"prompt,small,large\nWhen?,1,0\n",
    "truncated": lambda data: data[: len(data) // 2],
    "cut off at the end": lambda data: data[:-10],
    "spoilt where its arrays begin": lambda data: spoilt(data, 0),  # zlib finds it
    "spoilt within them": lambda data: spoilt(data, 0.5),  # the checksum finds it
    "another npz": lambda _: npz(weights=np.ones(3)),
    "one array": lambda _: npy(np.ones(3)),
    "a pickle": lambda _: npy(np.array([{}], dtype=object)),
    "no array of heads": lambda data: without(data, "heads.step"),
    "no array of familiarity": lambda data: without(data, "familiarity.quantiles"),
    "no card": lambda data: with_header(data, lambda header: {**header, "card": None}),
    "no object for a header": lambda data: with_header(data, lambda _: ["version", 1]),
    "no models": lambda data: with_header(data, lambda header: {**header, "models": None}),
}


@pytest.mark.parametrize("make", BAD.values(), ids=list(BAD))
def test_what_is_no_predictor_is_refused(saved: Path, tmp_path: Path, make: Callable[[bytes], bytes]) -> None:
    """By its path, and with what to give instead."""
    path = tmp_path / "other.head"
    path.write_bytes(make(saved.read_bytes()))
    with pytest.raises(InvalidRequestError, match=r"other\.head is no predictor's file.*pointsman fit"):
        TrainedPredictor.load(path)


def test_a_newer_version_is_refused(saved: Path, tmp_path: Path) -> None:
    """By its path, with both versions."""
    path = tmp_path / "newer.head"
    path.write_bytes(with_header(saved.read_bytes(), lambda header: {**header, "version": 99}))
    with pytest.raises(InvalidRequestError, match=r"newer\.head is of version 99; this is \d+"):
        TrainedPredictor.load(path)


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    """As Python says it."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TrainedPredictor.load(tmp_path / "nowhere.head")
