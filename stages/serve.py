"""serve: the base and iterations behind a server with OpenAI's interface, for whatever speaks to such a one."""

import os
import socket
import sys
from pathlib import Path

import click

from pairloop.errors import DataError
from pairloop.params import Params
from pairloop.samplers import Sampling
from pairloop.serving import Offer, bound, transformers, url, vllm
from stages import common


@click.command(cls=common.Verb)
@click.argument("iterations", type=click.IntRange(min=0), nargs=-1, required=True)
@click.option("--models", type=Path, default=Path("models"), show_default=True, help="Folder of the iterations.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at: this machine's own alone.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: one that is free.")
@click.option("--engine", type=click.Choice(["vllm", "transformers"]), help="Without it: vLLM where it can run.")
def main(iterations: tuple[int, ...], models: Path, host: str, port: int, engine: str | None) -> None:
    """Serve models with OpenAI's interface: `base`, and the ITERATIONS as iteration_1 and so on.

    Needs vLLM, or what transformers' server needs: `make serve` runs it where they are. Ctrl-C ends it.
    """
    params = common.load()
    others = {f"iteration_{n}": folder(models, n, params) for n in sorted(set(iterations)) if n}
    offer = Offer(folder(models, 0, params), others, params.base.dtype, sampling(params))
    with bound(host, port) as listening:
        if engine == "vllm" or (not engine and vllm.usable()):
            _become_vllm(offer, params, listening)
        else:
            _run_transformers(offer, listening)


def folder(models: Path, iteration: int, params: Params) -> Path:
    """Where an iteration's model lies.

    Raises:
        DataError: it is not there; says how to have it.
    """
    found, stage = models / f"iteration_{iteration}", f"train@{iteration}" if iteration else "base"
    if any((found / name).is_file() for name in ("model.json", "config.json", "adapter_config.json")):
        return found
    if iteration > params.iterations:
        raise DataError(
            f"{found}: there is no such model, and params.yaml has {params.iterations} iterations. "
            f"`dvc exp run -S iterations={iteration}` makes it"
        )
    raise DataError(f"{found}: there is no model yet. `dvc pull {stage}` brings it, or `dvc repro {stage}` makes it")


def sampling(params: Params) -> Sampling:
    """How the evaluation answers at its first temperature."""
    own = params.eval
    return Sampling(own.temperatures[0], own.top_p, own.top_k, own.max_new_tokens)


def _run_transformers(offer: Offer, listening: socket.socket) -> None:
    try:
        app = transformers.application(offer)
        listening.listen()  # who comes now waits, and is not refused
        _say(offer.names, "transformers", listening)
        transformers.run(app, listening)
    except KeyboardInterrupt:
        click.echo("serve: ended")


def _become_vllm(offer: Offer, params: Params, listening: socket.socket) -> None:
    """Let vLLM's server take this process's place, so that signals reach it as if it had been started by hand."""
    one, prepared = vllm.loaded(offer), common.scratch().resolve() / "serving"
    vllm.prepare(offer, one, prepared)
    host, port = listening.getsockname()[:2]
    quiet = ["-W", "ignore::DeprecationWarning"]
    command = [sys.executable, *quiet, "-m", vllm.SERVER, "--host", host, "--port", str(port)]
    command += vllm.arguments(one, prepared, offer.dtype, params.vllm)
    _say([one.name, *one.adapters], "vLLM, when it has loaded them,", listening)
    listening.close()
    os.execve(sys.executable, command, vllm.environment())


def _say(names: list[str], server: str, listening: socket.socket) -> None:
    click.echo(f"serve: {', '.join(names)} by {server} at {url(listening)}. Ctrl-C ends it.")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
