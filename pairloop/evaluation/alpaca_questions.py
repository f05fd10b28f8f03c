"""Questions to an annotator, put one by one: every answer is kept as it arrives, and none is asked for beyond a budget.

The package alpaca_eval makes the questions and reads the answers. What it puts them with is passed through here.
"""

import json
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pairloop.errors import RankingError, first_line
from pairloop.work import shards

Kept = dict[str, Any]
"""`completions` and, where there is more of it, `completions_all`: an answer; `dollars` and `tokens`, None where not
known; `date`."""

Completions = Callable[..., dict[str, Any]]
"""What the package asks with: prompts and settings to lists of what was answered."""

_KEYS = ("OPENAI_API_KEY", "OPENAI_API_KEYS")
_OPENAI = "https://api.openai.com/v1"
_CHARACTERS = 3
"""In a token, or more: what a question may cost is rather thought too much than too little."""

_LOCAL = ("huggingface_local_completions", "vllm_local_completions")
"""Models that are loaded for each call: they get all questions at once."""

_TRANSPORT = ("num_procs", "price_per_token")
"""Settings that change no answer."""


@dataclass
class Questions:
    """Puts questions to one annotator, and knows what that has cost."""

    name: str
    """Of the annotator, for messages."""

    scratch: Path
    """Folder for answers."""

    budget: float | None = None
    """The most dollars to spend; None: no limit."""

    price: float | None = None
    """Dollars for a million tokens; None: what the settings or the package say."""

    endpoint: str | None = None
    """Where to ask; None: what OPENAI_BASE_URL says, else OpenAI."""

    answered: list[Kept] = field(default_factory=list)
    """What was answered to all questions, those of earlier attempts included."""

    shown: Callable[[int], object] = lambda count: None
    """Told how many more are answered."""

    _asking: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def dollars(self) -> float | None:
        """What all answers have cost; None where that of one is not known."""
        return _sum([self._cost(kept) for kept in self.answered])

    @property
    def tokens(self) -> int | None:
        """Tokens of all questions and answers."""
        found = _sum([kept["tokens"] for kept in self.answered])
        return None if found is None else round(found)

    def _cost(self, kept: Kept) -> float | None:
        tokens: int | None = kept["tokens"]
        stated: float | None = kept["dollars"]
        return stated if self.price is None or tokens is None else tokens * self.price / 1e6

    def around(self, ask: Completions) -> Completions:
        """The same function, which asks only what is not kept."""
        kind = ask.__name__
        size = None if kind in _LOCAL else 1

        def kept(prompts: Sequence[str], **settings: Any) -> dict[str, Any]:
            call = _Call(self, ask, kind, self._reached(kind, settings))
            found = call.together(prompts) if size is None else call.one_by_one(prompts)
            return {
                "completions": [row["completions"] for row in found],
                "completions_all": [row["completions_all"] for row in found],
                "price_per_example": [row["dollars"] for row in found],
                "time_per_example": [0.0 for _ in found],
            }

        return kept

    def _reached(self, kind: str, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with where to ask, and a key for a server that wants none."""
        if kind != "openai_completions" or os.environ.get("OPENAI_CLIENT_CONFIG_PATH"):
            return settings
        base = asked_at(self.endpoint, os.environ)
        key = key_in(os.environ)
        if not key and base.startswith("https:"):
            raise RankingError(f"annotator {self.name}: {base} wants a key, and {_KEYS[0]} is not set: export it")
        return settings | {"openai_api_base": base, "openai_api_keys": (key or "none").split(",")}

    @contextmanager
    def _paying(self, question: str, per_token: float | None) -> Iterator[None]:
        """Keep money back for a question, or refuse it."""
        with self._lock:
            costs = [self._cost(kept) or 0.0 for kept in self.answered]
            # Those under way may each cost as much as the dearest so far.
            likely = max(costs, default=0.0)
            likely = max(likely, (per_token or 0.0) * (len(question) / _CHARACTERS + 1))
            if self.budget is not None and sum(costs) + (self._asking + 1) * likely > self.budget:
                raise RankingError(
                    f"annotator {self.name}: eval.budget is {self.budget:g} dollars, and the next question could cost "
                    "more than is left"
                )
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1


class _NotKeptError(Exception):
    """Nobody has answered this yet."""


@dataclass(frozen=True)
class _Call:
    """One call of the package's."""

    questions: Questions
    ask: Completions
    kind: str
    settings: Mapping[str, Any]

    def one_by_one(self, prompts: Sequence[str]) -> list[Kept]:
        """An answer to each, several questions being under way at a time; what is kept is not asked."""
        different = list(dict.fromkeys(prompts))
        found = {prompt: row for prompt in different if (row := self._known(prompt))}
        self._count(list(found.values()))
        missing = [prompt for prompt in different if prompt not in found]
        with ThreadPoolExecutor(int(self.settings.get("num_procs") or 5)) as pool:
            futures = [pool.submit(self._paid, prompt) for prompt in missing]
            wait(futures, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)  # what is under way is finished and kept
        found |= dict(zip(missing, self._results(futures, len(different)), strict=True))
        return [found[prompt] for prompt in prompts]

    def together(self, prompts: Sequence[str]) -> list[Kept]:
        """An answer to each, of a model here, 128 of which are kept at a time."""
        items = [{"prompt": prompt} for prompt in prompts]
        done = shards.shards(items, 128, self._fingerprint, self._answers, self.questions.scratch)
        rows = [row for shard in done for row in shard]
        self._count(rows)
        return rows

    @property
    def _fingerprint(self) -> dict[str, Any]:
        """Whatever decides an answer, but for who serves the model: a server may move."""
        hidden = (*_TRANSPORT, "openai_api_base", "openai_api_keys")
        settings = {name: value for name, value in self.settings.items() if name not in hidden}
        return {"step": "annotate", "function": self.kind, "settings": settings}

    def _known(self, prompt: str) -> Kept | None:
        def refuse(_: Sequence[Kept]) -> list[Kept]:
            raise _NotKeptError

        try:
            return self._kept(prompt, refuse)
        except _NotKeptError:
            return None

    def _kept(self, prompt: str, function: shards.Function) -> Kept:
        item = {"prompt": prompt}
        return next(shards.shards([item], 1, self._fingerprint, function, self.questions.scratch))[0]

    def _paid(self, prompt: str) -> Kept:
        price = self.questions.price
        per_token = price / 1e6 if price is not None else self.settings.get("price_per_token")
        with self.questions._paying(prompt, per_token):
            row = self._kept(prompt, self._answers)
            self._count([row])
        return row

    def _count(self, rows: list[Kept]) -> None:
        with self.questions._lock:
            self.questions.answered += rows
        self.questions.shown(len(rows))

    def _answers(self, items: Sequence[Kept]) -> list[Kept]:
        """Ask, by the package."""
        settings = {name: value for name, value in self.settings.items() if name != "num_procs"}
        alone = {"num_procs": 1} if self.kind not in _LOCAL else {}
        try:
            said = self.ask(prompts=[item["prompt"] for item in items], **settings, **alone)
        # Whatever the client of one provider or another raises: nobody can list it.
        except Exception as error:
            raise RankingError(f"annotator {self.questions.name}: {_told(error)}") from error
        return [self._row(said, place) for place in range(len(items))]

    def _row(self, said: Mapping[str, Any], place: int) -> Kept:
        whole = json.loads(json.dumps(said.get("completions_all", said["completions"])[place], default=str))
        tokens = whole.get("total_tokens") if isinstance(whole, dict) else None
        if tokens == 0:
            raise RankingError(
                f"annotator {self.questions.name}: a question was sent again and again, and not answered"
            )
        dollars = said["price_per_example"][place]
        return {
            "completions": said["completions"][place],
            "completions_all": whole,
            "dollars": None if dollars is None or math.isnan(dollars) else float(dollars),
            "tokens": tokens,
            "date": datetime.now(UTC).date().isoformat(),
        }

    def _results(self, futures: Sequence["Future[Kept]"], total: int) -> list[Kept]:
        """All answers, or the first error with how far it came."""
        failed = [future for future in futures if not future.cancelled() and future.exception()]
        if not failed:
            return [future.result() for future in futures]
        error = failed[0].exception()
        if not isinstance(error, RankingError):
            raise error if error else RuntimeError("a failed future has an error")
        asked = self.questions
        cost = f", which cost {asked.dollars:.2f} dollars" if asked.dollars else ""
        remedy = "raise it" if "eval.budget" in error.message else "run again"
        raise RankingError(
            f"{error.message}. {len(asked.answered)} of {total} verdicts are kept{cost}: {remedy} to ask for the others"
        ) from error


def asked_at(endpoint: str | None, environment: Mapping[str, str]) -> str:
    """The base URL of the server that is asked where none is given."""
    return endpoint or environment.get("OPENAI_API_BASE") or environment.get("OPENAI_BASE_URL") or _OPENAI


def key_in(environment: Mapping[str, str]) -> str | None:
    """The key for OpenAI, or a server like it."""
    return next((environment[name] for name in _KEYS if environment.get(name)), None)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _told(error: Exception) -> str:
    """What went wrong, without the key, which a server may repeat."""
    text = first_line(error)
    for key in (key_in(os.environ) or "").split(","):
        text = text.replace(key, "…") if key else text
    if getattr(error, "status_code", None) in (401, 403):
        return f"the server refuses the key ({text}): put one that is valid there into {_KEYS[0]}"
    return f"does not answer ({type(error).__name__}: {text})"
