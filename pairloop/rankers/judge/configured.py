"""The judge that the parameters describe: behind an endpoint, or a model that answers here."""

from pathlib import Path

from pairloop.params import VLLM
from pairloop.params import Judge as Asked
from pairloop.rankers.judge.endpoint import Endpoint
from pairloop.rankers.judge.ranker import Judge, LocalJudge
from pairloop.samplers import Sampling
from pairloop.samplers.answers import Policy, Speaker


def judge(asked: Asked, policy: Policy | None, vllm: VLLM, scratch: Path) -> Judge:
    """The judge.

    Args:
        asked: the section `judge` of the parameters.
        policy: the model that answers here; not read where an endpoint does.
        vllm: how vLLM is set up, where that is the engine.
        scratch: folder for finished answers.
    """
    if asked.endpoint or policy is None:
        return Judge(Endpoint(asked, scratch), asked.rubric)
    sampling = Sampling(asked.temperature, asked.top_p, asked.top_k, asked.max_new_tokens)
    speaker = Speaker(policy, sampling, asked.shard_questions, scratch, asked.engine, vllm)
    return Judge(LocalJudge(speaker), asked.rubric)
