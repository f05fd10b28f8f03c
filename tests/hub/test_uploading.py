"""An upload is one commit: whole, repeatable, upon what was there, and otherwise one sentence."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import TOKEN, Hub

from pairloop import hub
from pairloop.errors import EngineError
from pairloop.hub.uploading import upload

CARD = b"---\ntags:\n- dpo\n---\n# A model\n"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub. What asks it does not wait between its tries, and sends files by LFS."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    running = Hub()
    yield running
    running.close()


def model(folder: Path, *weights: str) -> list[hub.File]:
    for name in weights or ("adapter_model.safetensors",):
        (folder / name).write_bytes(name.encode() * 1000)
    files = [hub.file(name, folder / name) for name in weights or ("adapter_model.safetensors",)]
    return [hub.file("README.md", CARD), hub.file("config.json", b"{}\n"), *files]


def send(server: Hub, files: list[hub.File], token: str = TOKEN, to: str = "hf:me/tuned", **place: object) -> str:
    target = hub.target(to, "model", str(place.get("revision", "main")), bool(place.get("private")))
    return upload(files, target, token, hub.MODEL, "The model of iteration 3", server.url)


def content(file: hub.File) -> bytes:
    return file.content if isinstance(file.content, bytes) else file.content.read_bytes()


def test_a_new_repository_has_every_file_in_one_commit_after_the_first(server: Hub, tmp_path: Path) -> None:
    files = model(tmp_path)
    commit = send(server, files)
    (_, first), (found, then) = server.repositories["models/me/tuned"].branches["main"]
    assert (commit, [*first]) == (found, [".gitattributes"])
    assert then == {".gitattributes": b"", **{file.name: content(file) for file in files}}
    assert server.asked("POST", "/lfs/verify") == 1


def test_the_same_again_sends_nothing_and_gives_the_same_commit(server: Hub, tmp_path: Path) -> None:
    first = send(server, model(tmp_path))
    assert send(server, model(tmp_path)) == first
    assert len(server.repositories["models/me/tuned"].branches["main"]) == 2 and server.asked("PUT") == 1


def test_a_changed_card_is_a_commit_more_and_the_weights_stay(server: Hub, tmp_path: Path) -> None:
    first = send(server, model(tmp_path))
    files = [hub.file("README.md", CARD + b"more"), *model(tmp_path)[1:]]
    assert send(server, files) != first
    assert server.repositories["models/me/tuned"].files["README.md"] == CARD + b"more" and server.asked("PUT") == 1


def test_what_another_model_left_goes_and_what_nobody_here_wrote_stays(server: Hub, tmp_path: Path) -> None:
    server.add("models/me/tuned", {"model.safetensors": b"old", "paper.pdf": b"mine", "README.md": b"old"})
    send(server, model(tmp_path))
    found = server.repositories["models/me/tuned"].files
    assert sorted(found) == [*(".gitattributes", "README.md", "adapter_model.safetensors", "config.json", "paper.pdf")]
    assert found["README.md"] == CARD


def test_a_branch_is_made_and_main_is_as_before(server: Hub, tmp_path: Path) -> None:
    for _ in range(2):
        commit = send(server, model(tmp_path), revision="beta-0.2")
    branches = server.repositories["models/me/tuned"].branches
    assert branches["beta-0.2"][-1][0] == commit and len(branches["beta-0.2"]) == 2 and len(branches["main"]) == 1


def test_a_private_repository_is_private_and_a_public_one_is_refused(server: Hub, tmp_path: Path) -> None:
    send(server, model(tmp_path), private=True)
    assert server.repositories["models/me/tuned"].private
    send(server, model(tmp_path), private=True)
    server.add("models/me/open", {})
    with pytest.raises(EngineError, match="hf:me/open: everybody can see it already"):
        send(server, model(tmp_path), to="hf:me/open", private=True)
    assert len(server.repositories["models/me/open"].branches["main"]) == 1


def test_a_token_that_the_hub_does_not_know_or_that_may_not_write_there(server: Hub, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"the hub does not know this token. Set HF_TOKEN to one from") as error:
        send(server, model(tmp_path), token="hf_" + "b" * 34)
    assert "bbbb" not in error.value.message and "\n" not in error.value.message and not server.repositories
    server.add("models/me/tuned", {})
    with pytest.raises(EngineError, match=r"this token may not write there. Set HF_TOKEN"):
        send(server, model(tmp_path), to="hf:another/tuned")


def test_a_server_that_breaks_off_has_changed_nothing_and_the_next_try_sends_the_rest(
    server: Hub, tmp_path: Path
) -> None:
    server.puts_left = 1
    files = model(tmp_path, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    with pytest.raises(EngineError, match=r"is not reached or broke off .* Nothing was changed there. Run this again"):
        send(server, files)
    assert [*server.repositories["models/me/tuned"].files] == [".gitattributes"] and server.asked("PUT") == 1
    server.puts_left = None
    send(server, files)
    assert server.repositories["models/me/tuned"].files.items() >= {file.name: content(file) for file in files}.items()
    assert server.asked("PUT") == 2


def test_a_server_that_is_not_there_is_one_sentence(server: Hub, tmp_path: Path) -> None:
    files = model(tmp_path)
    server.close()
    with pytest.raises(EngineError, match=f"the hub at {server.url} is not reached") as error:
        send(server, files)
    assert "\n" not in error.value.message


def test_somebody_elses_commit_meanwhile_is_not_written_over(server: Hub, tmp_path: Path) -> None:
    server.refused["/commit/main"] = 412
    with pytest.raises(EngineError, match=r"somebody else has changed it meanwhile. Run this again"):
        send(server, model(tmp_path))


def test_the_commit_names_the_one_that_it_goes_upon(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    server.add("models/me/tuned", {})
    before = HfApi.repo_info

    def and_then_another(*args: object, **options: object) -> object:
        found = before(*args, **options)
        server.repositories["models/me/tuned"].branches["main"].append(("f" * 40, {"theirs": b""}))
        return found

    monkeypatch.setattr(HfApi, "repo_info", and_then_another)
    with pytest.raises(EngineError, match="somebody else has changed it meanwhile"):
        send(server, model(tmp_path))
    assert [*server.repositories["models/me/tuned"].files] == ["theirs"]


def test_a_card_that_the_hub_does_not_take_stops_before_anything_is_sent(server: Hub, tmp_path: Path) -> None:
    files = [hub.file("README.md", b"---\nlicense: mit\n---\n"), *model(tmp_path)[1:]]
    with pytest.raises(EngineError, match=r'does not take it \(Invalid metadata in README.md. - "tags" is required\)'):
        send(server, files)
    assert server.asked("PUT") == 0
