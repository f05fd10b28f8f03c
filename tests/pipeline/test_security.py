"""Nothing that a run writes holds a key, and nothing that others see a place of the machine or a name of who ran it."""

import os
import re
import subprocess
from pathlib import Path

from conftest import ROOT, SECRETS, Project
from written import holding, machine, texts

SEEN = ("data", "models", "results", "report", "dvc.lock", "dvc.yaml", "params.yaml", ".dvc/config", ".dvc/cache/files")
"""What others get to see: of a run in git, and of what DVC keeps, which is what a remote holds, published/ too."""


def test_a_word_is_found_in_a_table_that_is_packed_and_in_a_folder(tmp_path: Path) -> None:
    from pairloop.files import records

    # Packed by its parts, and between the first and the last text, which a table's statistics hold as they are.
    prompts = ("a", "the where and the withal, " * 9 + "wherewithal", "z")
    rows = [{"prompt_id": "1", "prompt": prompt, "source": "a", "constraints": None} for prompt in prompts]
    path = tmp_path / "in" / "a.parquet"
    records.write(path, records.PROMPT, [rows])
    assert b"wherewithal" not in path.read_bytes()
    assert [*holding(tmp_path, "wherewithal")] == [str(path)]
    assert not holding(tmp_path, "whereas")


def test_no_key_is_written_anywhere_and_no_place_or_name_where_others_see_it(reproduced: Project) -> None:
    assert not holding(reproduced.folder, *SECRETS.values())
    assert not holding(reproduced.folder.parent / "printed", *SECRETS.values())
    folders = [reproduced.folder / name for name in SEEN]
    assert all(folder.exists() for folder in folders)
    assert not [found for folder in folders if (found := holding(folder, *machine(reproduced)))]


def test_what_is_committed_here_holds_no_key_and_no_persons_folder() -> None:
    # Not the tests, whose keys and people are invented.
    command = ["git", "ls-files", "-z", "--", ":!tests"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    secret = re.compile(
        rb"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY"
    )
    person = re.compile(rb"(?<![\w.])/(?:home|Users)/(?!somebody\b|someone\b|you\b|me\b)\w+/|(?<![\w.~])/root/\w")
    found = {}
    for name in filter(None, listed.split("\0")):
        for text in texts((ROOT / name).read_bytes()) if (ROOT / name).is_file() else ():
            if hits := [*secret.findall(text), *person.findall(text)]:
                found[name] = hits
    assert not found


def test_dvcs_committed_configuration_has_no_credentials() -> None:
    text = (ROOT / ".dvc" / "config").read_text(encoding="utf-8")
    assert not re.search(
        r"^\s*(password|token|\w*secret\w*|\w*access_key\w*|sas_token|connection_string)\s*=", text, re.M
    )
    assert not re.search(r"://[^/\s]*@", text)
    ignored = subprocess.run(["git", "check-ignore", ".dvc/config.local"], cwd=ROOT, capture_output=True)
    assert ignored.returncode == 0 and os.fsencode(".dvc/config.local") in ignored.stdout
