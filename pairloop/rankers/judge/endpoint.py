"""A judge behind any server that speaks OpenAI's chat completions."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pairloop.errors import RankingError
from pairloop.params import Judge
from pairloop.rankers.judge.ranker import Verdict
from pairloop.work import shards

_AGAIN = (429, 500, 502, 503, 504)
"""Statuses after which the same request may well succeed."""


@dataclass(frozen=True)
class Endpoint:
    """Asks over the network, several questions at a time, and keeps every answer as it arrives.

    A rerun asks only what is missing. The key is read from the environment for each request's header and goes nowhere
    else.
    """

    judge: Judge
    """Where, whom and how; `judge.endpoint` is set."""

    scratch: Path
    """Folder for answers."""

    def ask(self, questions: Sequence[str]) -> list[Verdict]:
        """As `Asker.ask`.

        Raises:
            RankingError: the server refuses, or does not answer after all retries; says how many answers are kept.
        """
        different = list(dict.fromkeys(questions))
        with _session(self.judge) as session, ThreadPoolExecutor(self.judge.concurrency) as pool:
            futures = [pool.submit(self._kept, session, question) for question in different]
            wait(futures, return_when=FIRST_EXCEPTION)
            pool.shutdown(cancel_futures=True)  # what is under way is finished and kept
        verdicts = dict(zip(different, _results(futures), strict=True))
        return [verdicts[question] for question in questions]

    def _kept(self, session: Any, question: str) -> Verdict:
        """The stored answer to a question, or a new one, stored."""
        said = {"endpoint": self.judge.endpoint, "body": self._body(question)}

        def fetched(_: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
            return [asdict(self._fetched(session, question))]

        return Verdict(**next(shards.shards([said], 1, {"step": "judge"}, fetched, self.scratch))[0])

    def _body(self, question: str) -> dict[str, Any]:
        limits = {
            self.judge.temperature_field: self.judge.temperature,
            self.judge.max_tokens_field: self.judge.max_new_tokens,
        }
        return {
            "model": self.judge.model,
            "messages": [{"role": "user", "content": question}],
            **{name: value for name, value in limits.items() if name},
        }

    def _fetched(self, session: Any, question: str) -> Verdict:
        import requests

        address = f"{str(self.judge.endpoint).rstrip('/')}/chat/completions"
        key = os.environ.get(self.judge.key_variable)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            answer = session.post(address, json=self._body(question), headers=headers, timeout=self.judge.timeout)
        except requests.RequestException as error:
            raise RankingError(
                f"judge: {address} does not answer ({type(error).__name__}), not after {self.judge.retries} retries"
            ) from error
        if not answer.ok:
            raise RankingError(
                f"judge: {address} answered {answer.status_code}: {answer.text[:200]}{self._hint(answer)}"
            )
        return _verdict(answer, address)

    def _hint(self, answer: Any) -> str:
        if answer.status_code in (401, 403):
            return f". Put a key that is valid there into the environment variable {self.judge.key_variable}"
        if answer.status_code in (400, 422):
            return (
                ". A field that it does not take can be renamed or left out: judge.max_tokens_field (such as "
                "max_completion_tokens, or null), judge.temperature_field (null)"
            )
        return f". It was asked {self.judge.retries + 1} times" if answer.status_code in _AGAIN else ""


@contextmanager
def _session(judge: Judge) -> Iterator[Any]:
    """Connections that send a request again, later each time or when the server says, as often as is allowed."""
    import requests
    from urllib3.util import Retry

    retry = Retry(
        total=judge.retries,
        backoff_factor=0.5,
        backoff_jitter=0.5,
        backoff_max=60,
        status_forcelist=_AGAIN,
        allowed_methods=None,
        respect_retry_after_header=True,
        raise_on_status=False,
    )
    with requests.Session() as session:
        session.trust_env = False  # no key out of ~/.netrc
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=judge.concurrency, max_retries=retry))
        yield session


def _verdict(answer: Any, address: str) -> Verdict:
    try:
        content = answer.json()
        choice = content["choices"][0]
        text, cut_off = _text(choice["message"]["content"]), choice.get("finish_reason") == "length"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise RankingError(f"judge: {address} sent no chat completion, but {answer.text[:200]!r}") from error
    usage = content.get("usage") or {}
    retries = answer.raw.retries.history if answer.raw.retries else ()
    tokens = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return Verdict(text, *tokens, retried=len(retries), cut_off=cut_off)


def _text(content: Any) -> str:
    """A message's text: none, as it is, or in parts, of which those that hold thoughts or pictures are left out."""
    if isinstance(content, list):
        return "".join(part if isinstance(part, str) else part.get("text") or "" for part in content)
    return content or ""


def _results(futures: Sequence["Future[Verdict]"]) -> list[Verdict]:
    """All results, or the first error with how far it came."""
    failed = [future for future in futures if not future.cancelled() and future.exception()]
    if not failed:
        return [future.result() for future in futures]
    error = failed[0].exception()
    kept = sum(future.done() and not future.cancelled() and not future.exception() for future in futures)
    if not isinstance(error, RankingError):
        raise error if error else RuntimeError("a failed future has an error")
    raise RankingError(
        f"{error}. {kept} of {len(futures)} answers are kept: run again to ask for the others"
    ) from error
