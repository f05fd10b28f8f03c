"""upload: put a committed run's model, data or export on the Hugging Face hub, with a card that says where from."""

import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import click

from pairloop import hub
from pairloop.errors import DataError, PairloopError, ParameterError
from pairloop.files import records
from pairloop.params import Params
from stages import common

BESIDE = re.compile(r"iteration_\d+|prompts|preferences|pool\.parquet|eval\.parquet")
"""What lies beside the splits in data/ and stays here."""

RESULTS = Path("results")
CARD = "README.md"


@click.command(cls=common.Verb)
@click.option("--to", required=True, help="Where to, as hf:owner/name; it is made where it is not there.")
@click.option("--what", type=click.Choice(["model", "data", "export"]), required=True)
@click.option("--iteration", type=click.IntRange(min=1), help="Of a model or export; default: the last one.")
@click.option("--form", help="Of an export, where there are several: merged, adapter, gguf-q8_0 and so on.")
@click.option("--private", is_flag=True, help="Make a repository that only its owner sees.")
@click.option("--revision", default="main", show_default=True, help="The branch to write to.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent: asks nothing of the network.")
def main(
    to: str, what: str, iteration: int | None, form: str | None, private: bool, revision: str, dry_run: bool
) -> None:
    """Upload what a clean, committed run made, and print the commit that it has on the hub.

    The token is read from the environment variable HF_TOKEN and from nowhere else.
    """
    kind: Literal["model", "dataset"] = "dataset" if what == "data" else "model"
    target = hub.target(to, kind, revision, private)
    token = "" if dry_run else _token()
    params = common.load()
    number = _number(iteration, params)
    names, paths = _files(what, number, form)
    common.refuse_unless_clean("upload")
    card = hub.file(CARD, _card(what, number, params, paths[0].parent).encode())
    files = sorted([card, *(hub.file(path.name, path) for path in paths)], key=lambda file: file.name)
    for file in files:
        click.echo(f"{file.sha256}  {file.size:>13,}  {file.name}")
    size = f"{len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB"
    if dry_run:
        click.echo(f"{target}, a {kind}: {size}. This was a dry run: nothing was sent.")
        return
    from pairloop.hub.uploading import upload

    done = upload(files, target, token, names, f"{_title(what, number)} of {_commit()[:12]}")
    click.echo(f"{target}, a {kind}: {size}. Its commit: hf:{target.repository}@{done}")


def _token() -> str:
    token = os.environ.get("HF_TOKEN", "").strip()
    if not token:
        raise PairloopError(
            "HF_TOKEN is not set. Put a token that may write there into the environment; "
            "https://huggingface.co/settings/tokens makes one. --dry-run needs none."
        )
    return token


def _number(iteration: int | None, params: Params) -> int:
    number = params.iterations if iteration is None else iteration
    if number > params.iterations:
        raise ParameterError(f"--iteration {number}: the run has {params.iterations}, from 1.")
    return number


def _title(what: str, number: int) -> str:
    return "The pairs" if what == "data" else f"The {what} of iteration {number}"


def _files(what: str, number: int, form: str | None) -> tuple[re.Pattern[str], list[Path]]:
    """The names that files may have, and the files but for the card."""
    if what == "data":
        found = hub.files(Path("data"), hub.DATA, BESIDE)
        splits = _splits(Path("data") / CARD)
        return hub.DATA, [path for path in found if path.name in splits]
    names = hub.MODEL if what == "model" else hub.EXPORT
    folder = Path("models") / f"iteration_{number}" if what == "model" else _export(number, form)
    return names, [path for path in hub.files(folder, names) if path.name != CARD]


def _splits(card: Path) -> set[str]:
    """The files that the data's card names: those of another run may still lie beside them."""
    from huggingface_hub import metadata_load

    header = metadata_load(card) if card.is_file() else None
    if not header:
        raise DataError(f"{card}: no such card. `dvc repro report` writes it.")
    return {file["path"] for config in header["configs"] for file in config["data_files"]}


def _export(number: int, form: str | None) -> Path:
    """The folder with the export of an iteration.

    One that params.yaml no longer asks for may still lie there and in dvc.lock, but nobody looks whether it is the
    model's any more.
    """
    asked = [path.split("-", 1) for path in common.raw()["schedule"]["export"]]
    found = [Path("exports", f"iteration_{n}", own) for n, own in asked if n == str(number) and form in (None, own)]
    if not found:
        named = f" FORMS={form}" if form else ""
        raise DataError(
            f"--what export: params.yaml has no such export of iteration {number}. Run make use ITERATION={number}"
            f"{named}, `dvc repro`, and commit."
        )
    if len(found) > 1:
        raise DataError(f"--what export: which? Needed: --form {' or '.join(path.name for path in found)}")
    return found[0]


def _card(what: str, number: int, params: Params, folder: Path) -> str:
    """The card in the folder, completed."""
    from pairloop.cards.data import data_card
    from pairloop.cards.model import model_card

    made = (folder / CARD).read_text(encoding="utf-8")
    if what == "data":
        return data_card(made, _run(params.iterations, params))
    before = records.read_json(RESULTS / "iteration_0" / "metrics.json")
    measured_of = f"the model of iteration {number} as it was trained" if what == "export" else ""
    return model_card(made, _run(number, params), _found(number), before, measured_of)


def _found(number: int) -> dict[str, Any]:
    """What was measured of a model."""
    folder = RESULTS / f"iteration_{number}"
    files = {name: folder / f"{name}.json" for name in ("metrics", "watch", "ifeval", "lm_eval")}
    files["annotated"] = RESULTS / "annotated" / folder.name / "result.json"
    asked = common.raw()["schedule"]
    optional = {name: {str(key) for key in asked.get(name, ())} for name in ("ifeval", "lm_eval")}
    optional["annotated"] = {key.removeprefix("iteration_") for key in map(str, asked.get("annotated", ()))}
    # Files of another run that measured more may still lie there.
    wanted = [name for name in files if name not in optional or str(number) in optional[name]]
    return {name: records.read_json(files[name]) for name in wanted if files[name].is_file()}


def _run(number: int, params: Params) -> Any:
    """Where an iteration comes from."""
    from pairloop.cards import Run, origin
    from pairloop.report.reproducible import named
    from pairloop.training.output import base_name

    source = params.pair.published or params.pool.source
    ranked = RESULTS / f"iteration_{number}" / "rank.json"
    local = Path(source)
    return Run(
        iterations=number,
        base=base_name(Path("models") / "iteration_0"),
        prompts=named(source),
        licence=origin.licence(local) if local.exists() else None,
        ranker=None if params.pair.published else records.read_json(ranked)["ranker"],
        parameters=origin.shown({key: value for key, value in common.raw().items() if key != "schedule"}),
        rows={n: _rows(RESULTS / f"iteration_{n}", params) for n in range(1, number + 1)},
        commit=_commit(),
        repository=_repository(),
    )


def _rows(folder: Path, params: Params) -> dict[str, int | None]:
    pair = records.read_json(folder / "pair.json")
    sampled = None if params.pair.published else records.read_json(folder / "generate.json")
    return {
        "prompts": sampled and sampled["rows_out"],
        "responses": sampled and sampled["responses"],
        "train_pairs": pair["train_pairs"],
        "test_pairs": pair["test_pairs"],
    }


def _commit() -> str:
    return common.run("upload", "git", "rev-parse", "HEAD").strip()


def _repository() -> str | None:
    """Where others can clone from; never with the name or password that an address may hold."""
    remotes = common.run("upload", "git", "remote").split()
    address = common.run("upload", "git", "remote", "get-url", "origin").strip() if "origin" in remotes else ""
    parts = urlsplit(address)
    host = parts.hostname and f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    return f"https://{host}{parts.path}" if parts.scheme == "https" and host else None


if __name__ == "__main__":
    main()
