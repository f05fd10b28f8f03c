"""Sampling with any causal language model of transformers: the same seeds give the same responses, on a CPU too."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from pairloop.errors import ModelError
from pairloop.models import attention, chat, references
from pairloop.samplers import Request, Response, Sampling, penalty, response, room, temperatures_of

_PREFILL_TOKENS = 512
"""Prompts are read together, padding included, up to this many tokens: enough to keep a processor busy, and few enough
that prompts of like length meet. No figure of quality."""


Answer = tuple[list[int], list[float]]
"""A response's tokens, and the log-probability of each at temperature 1."""


class TransformersSampler:
    """Answers prompts with a model in memory.

    Each prompt is read once and its keys and values are shared out to its responses. All responses of a call are then
    decoded together, and leave the batch when they end. Every response draws its tokens from a random stream of its
    own, so that it depends on nothing but the model, the prompt and its seed; only the float sums behind its logits may
    round differently in other company.
    """

    def __init__(self, model: Any, tokenizer: Any, sampling: Sampling) -> None:
        """
        Args:
            model: a causal language model of transformers, on any device; it is set to evaluation mode. Of its
                generation config only the end tokens count.
            tokenizer: the model's, with a chat template.
            sampling: how tokens are chosen.
        """
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.sampling = sampling
        self._ends = frozenset(chat.end_ids(model, tokenizer))
        self._opening = self._shared_opening()
        self._shares = self._can_share()
        self._arguments = frozenset(inspect.signature(model.forward).parameters)

    def sample(self, requests: Sequence[Request]) -> list[list[Response]]:
        """As `Sampler.sample`. Takes as many rows into memory as there are seeds in all requests together."""
        import torch

        from pairloop.models.packed import packed_linears

        prompts = [chat.encode_prompt(self.tokenizer, request.prompt) for request in requests]
        room.check(
            requests, prompts, references.context(self.model.config), self.sampling.max_new_tokens, "transformers"
        )
        order = sorted((i for i, r in enumerate(requests) if r.seeds), key=lambda i: len(prompts[i]))
        responses: list[list[Response]] = [[] for _ in requests]
        if not order:
            return responses
        with torch.inference_mode(), packed_linears(self.model):
            answers = self._answers([prompts[i] for i in order], [requests[i] for i in order])
        for i in order:
            responses[i] = [self._response(next(answers)) for _ in requests[i].seeds]
        return responses

    def _shared_opening(self) -> list[int]:
        """What all prompts begin with, such as a template's system prompt, if it can be read once for all."""
        from pairloop.samplers import cache

        # A sliding window counts columns, so the padding that follows a shared opening would push it out of sight.
        return [] if cache.windowed(self.model.config) else chat.opening_ids(self.tokenizer)

    def _can_share(self) -> bool:
        """Whether the rows of a prompt can read its keys and values together."""
        from pairloop.samplers import cache

        return attention.replaceable(self.model) and not cache.windowed(self.model.config)

    def _answers(self, prompts: list[list[int]], requests: list[Request]) -> Iterator[Answer]:
        """Every response's tokens and logps: of the first request's seeds, then of the second's, and so on."""
        import torch

        steps = self.sampling.max_new_tokens
        lengths = torch.tensor([len(prompt) for prompt in prompts])
        width, columns = int(lengths.max()), torch.arange(int(lengths.max()) + steps)
        opening = len(self._opening)
        # The opening stands first; the padding, if any, between it and the rest of the prompt.
        mask = (columns < opening) | (columns >= width - lengths[:, None] + opening)
        counts = torch.tensor([len(request.seeds) for request in requests])
        cache, logits = self._prefill(prompts, counts, mask[:, :width])
        uniforms = np.stack(
            [np.random.Generator(np.random.Philox(key=s)).random(steps) for each in requests for s in each.seeds]
        )
        temperatures = np.array([one for request in requests for one in temperatures_of(request, self.sampling)])
        mask, lengths = (each.repeat_interleave(counts, dim=0).to(self.model.device) for each in (mask, lengths))
        with self._attention(cache):
            return iter(self._decode(cache, logits, mask, lengths, uniforms, temperatures))

    def _attention(self, cache: Any) -> AbstractContextManager[None]:
        from pairloop.samplers import shared

        return attention.attending(self.model, cache.attend) if isinstance(cache, shared.SharedCache) else nullcontext()

    def _decode(
        self, cache: Any, logits: Any, mask: Any, lengths: Any, uniforms: Any, temperatures: Any
    ) -> list[Answer]:
        """The tokens and logps of every row, from the logits [rows, vocabulary] of its first.

        Args:
            cache: the prompts' keys and values.
            logits: [rows, vocabulary].
            mask: [rows, W + steps], true where a row has a token or will have one.
            lengths: [rows] tokens of the rows' prompts.
            uniforms: [rows, steps] numbers from 0, below 1.
            temperatures: [rows].
        """
        import torch

        from pairloop.samplers.cache import closed_up

        rows, steps = uniforms.shape
        answers: list[Answer] = [([], []) for _ in range(rows)]
        live = np.arange(rows)
        told = torch.empty((rows, steps), dtype=torch.long, device=logits.device)
        for step in range(steps):
            with penalty.lowered(logits, told[live, :step], self.sampling.frequency_penalty):
                best = likeliest(logits, self.sampling, temperatures[live])
            tokens = choose(best, uniforms[live, step], self.sampling, temperatures[live])
            told[live, step] = torch.from_numpy(tokens).to(told.device)
            highest = logits.amax(-1, keepdim=True) if self.sampling.frequency_penalty else best.values[:, :1]
            for row, token, logp in zip(live, tokens, log_probabilities(logits, tokens, highest), strict=True):
                answers[row][0].append(int(token))
                answers[row][1].append(float(logp))
            order = closed_up([int(token) not in self._ends for token in tokens])
            if not len(order) or step == steps - 1:
                break
            if len(order) < len(live):
                cache.keep(order)
                live, tokens = live[order], tokens[order]
            inputs = torch.from_numpy(tokens[:, None]).to(self.model.device)
            seen = mask[live, : mask.shape[1] - steps + step + 1]
            logits = self._forward(inputs, seen, lengths[live, None] + step, cache)
        return answers

    def _prefill(self, prompts: list[list[int]], counts: Any, mask: Any) -> tuple[Any, Any]:
        """A cache with `counts[p]` rows for each prompt p, and the logits [rows, vocabulary] of their first tokens.

        `mask` [prompts, W] is true where a prompt has a token.
        """
        import torch

        from pairloop.samplers import cache, shared

        opening = len(self._opening)
        rests = [prompt[opening:] for prompt in prompts]
        read = self._read_opening()
        batches, logits = [], []
        groups = list(_groups([len(rest) for rest in rests]))
        for group in groups:
            batch = cache.repeated(read, len(rests[group]))
            inputs, own = _left_padded(rests[group], self.tokenizer.pad_token_id, self.model.device)
            positions = (opening + own.cumsum(-1) - 1).clamp(min=0)
            own = torch.cat([own.new_ones(len(own), opening), own], dim=1)
            logits.append(self._forward(inputs, own, positions, batch))
            batches.append(batch)
        first = torch.cat(logits).repeat_interleave(counts.to(self.model.device), dim=0)
        if self._shares and int(counts.sum()) > len(counts):
            once = [torch.ones_like(counts[group]) for group in groups]
            return shared.SharedCache(cache.joined(batches, once, opening), mask, counts), first
        return cache.joined(batches, [counts[group] for group in groups], opening), first

    def _read_opening(self) -> Any:
        """A cache of one row that holds the opening."""
        import torch

        from pairloop.samplers import cache

        read = cache.empty(self.model.config)
        if self._opening:
            inputs = torch.tensor([self._opening], device=self.model.device)
            positions = torch.arange(len(self._opening), device=self.model.device)[None]
            self._forward(inputs, torch.ones_like(inputs), positions, read)
        return read

    def _forward(self, inputs: Any, mask: Any, positions: Any, cache: Any) -> Any:
        """Logits [rows, vocabulary] after the last column of `inputs`, whose keys and values are added to `cache`."""
        from pairloop.samplers import shared

        arguments = {
            "input_ids": inputs,
            # With four dimensions transformers makes no mask of its own, which an attention of ours does not need.
            "attention_mask": mask[:, None, None] if isinstance(cache, shared.SharedCache) else mask.long(),
            "position_ids": positions,
            "past_key_values": cache,
            "use_cache": True,
            "logits_to_keep": 1,
        }
        known = {name: value for name, value in arguments.items() if name in self._arguments}
        return self.model(**known).logits[:, -1]

    def _response(self, answer: tuple[list[int], list[float]]) -> Response:
        return response(self.tokenizer, *answer, self._ends)


def likeliest(logits: Any, sampling: Sampling, temperatures: Any) -> Any:
    """The highest of the logits [rows, vocabulary], of which a token is chosen: `values` and `indices` [rows, K].

    They fall from left to right. K is 1 if all `temperatures` [rows] are 0, else `top_k` or the whole vocabulary.
    """
    greedy = not temperatures.any()
    return logits.max(dim=-1, keepdim=True) if greedy else logits.topk(min(sampling.top_k, logits.shape[-1]), dim=-1)


def log_probabilities(logits: Any, tokens: Any, highest: Any) -> Any:
    """Log-probability of one token in each row, at temperature 1, in nats: numpy array [rows].

    Args:
        logits: torch tensor [rows, vocabulary], which is overwritten: a copy of it would take as long as the sum.
        tokens: numpy array [rows] of token ids.
        highest: [rows, 1], the highest of these logits.
    """
    import torch

    ids = torch.as_tensor(tokens, device=logits.device)[:, None]
    shifted = logits.float().sub_(highest)
    own = shifted.gather(1, ids)[:, 0]
    return (own - shifted.exp_().sum(dim=-1).log()).cpu().numpy()


def choose(best: Any, uniforms: Any, sampling: Sampling, temperatures: Any) -> Any:
    """One token for each row, by inverting the cumulative distribution at a given number.

    As in transformers and vLLM, the logits are divided by the temperature, all but the `top_k` are dropped, the rest is
    normalised, and of it the smallest set of likeliest tokens that reaches `top_p` is kept.

    Args:
        best: what `likeliest` gave for the logits.
        uniforms: numpy array [rows], numbers from 0, below 1.
        sampling: top_p and top_k.
        temperatures: numpy array [rows]; at 0 the likeliest token is taken.

    Returns:
        numpy array [rows] of token ids.

    Raises:
        ModelError: a logit is not a number.
    """
    values, ids = best.values.double().cpu().numpy(), best.indices.cpu().numpy()
    if not np.isfinite(values[:, 0]).all():
        raise ModelError("the model's logits are not finite numbers: its weights are damaged, or training diverged")
    if not temperatures.any():
        return ids[:, 0]
    greedy = temperatures == 0
    probabilities = np.exp((values - values[:, :1]) / np.where(greedy, 1, temperatures)[:, None])
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    before = probabilities.cumsum(axis=1) - probabilities
    nucleus = np.where(before < sampling.top_p, probabilities, 0)
    cumulative = nucleus.cumsum(axis=1)
    index = (cumulative <= uniforms[:, None] * cumulative[:, -1:]).sum(axis=1)
    index = np.minimum(index, (nucleus > 0).sum(axis=1) - 1)  # rounding can carry a number just below 1 past the end
    return np.take_along_axis(ids, np.where(greedy, 0, index)[:, None], axis=1)[:, 0]


def _groups(lengths: list[int]) -> Iterator[slice]:
    """Cut sorted lengths into slices that, padded to their longest, have at most _PREFILL_TOKENS tokens, or one row."""
    start = 0
    for end, length in enumerate(lengths):
        if end > start and length * (end + 1 - start) > _PREFILL_TOKENS:
            yield slice(start, end)
            start = end
    yield slice(start, len(lengths))


def _left_padded(prompts: list[list[int]], padding: int, device: Any) -> tuple[Any, Any]:
    """Token ids and mask, [prompts, longest] each."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[padding] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids.to(device), mask.to(device)
