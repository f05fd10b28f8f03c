"""One commit on the hub, upon the one that was there: all files, or none."""

import re
from collections.abc import Sequence
from typing import Any

from pairloop.errors import EngineError, first_line
from pairloop.hub import File, Target


def upload(
    files: Sequence[File], to: Target, token: str, names: re.Pattern[str], message: str, endpoint: str | None = None
) -> str:
    """Make the repository if it is not there, and a commit with these files; what has arrived is not sent again.

    Files on the hub that have a name that matches `names` and are not among these were another model's, and are
    deleted; whatever else is there stays.

    Args:
        files: all that the model or data set consists of.
        to: where they go.
        token: of the hub, with the right to write there.
        names: of files, as for `pairloop.hub.files`.
        message: of the commit.
        endpoint: the hub's address; None is HF_ENDPOINT or the usual one.

    Returns:
        The commit, 40 hex digits.

    Raises:
        EngineError: the hub refuses or is not reached. Nothing has changed there, but a repository may be made.
    """
    from httpx2 import HTTPError  # what huggingface_hub asks the hub with
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token)
    try:
        parent, stale = _prepared(api, files, to, names)
        done = api.create_commit(
            to.repository,
            [*_operations(files, stale)],
            commit_message=message,
            repo_type=to.kind,
            revision=to.revision,
            parent_commit=parent,
        )
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise EngineError(f"{to}: {_said(error, api.endpoint)}") from error
    return str(done.oid)


def _prepared(api: Any, files: Sequence[File], to: Target, names: re.Pattern[str]) -> tuple[str, list[str]]:
    """The commit to build upon, and the names of an earlier upload's files that are no more."""
    place = {"repo_id": to.repository, "repo_type": to.kind}
    api.create_repo(**place, private=to.private or None, exist_ok=True)
    if to.revision != "main":
        api.create_branch(**place, branch=to.revision, exist_ok=True)
    there = api.repo_info(**place, revision=to.revision)
    if to.private and there.private is False:
        raise EngineError(f"hf:{to.repository}: everybody can see it already, so that --private would promise too much")
    own = {file.name for file in files}
    found = [one.rfilename for one in there.siblings or ()]
    return there.sha, [name for name in found if name not in own and names.fullmatch(name)]


def _operations(files: Sequence[File], stale: Sequence[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    added = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.content) for file in files]
    return [*added, *(CommitOperationDelete(path_in_repo=name) for name in stale)]


_REFUSED = {
    401: "the hub does not know this token. Set HF_TOKEN to one from https://huggingface.co/settings/tokens",
    403: "this token may not write there. Set HF_TOKEN to one with that right, or name another owner with --to",
    404: "the hub has no such repository or branch, or this token may not see it. Check --to, --revision and HF_TOKEN",
    409: "somebody else is changing it. Run this again",
    412: "somebody else has changed it meanwhile. Run this again: it goes upon what is there then",
}
"""By the hub's status."""


def _said(error: Exception, endpoint: str) -> str:
    """What went wrong and what to do. Why a single file failed, the library tells as the error's cause."""
    from huggingface_hub.errors import HfHubHTTPError

    why: BaseException = error
    while isinstance(why, RuntimeError) and why.__cause__:
        why = why.__cause__
    status = why.response.status_code if isinstance(why, HfHubHTTPError) and why.response is not None else None
    if status in _REFUSED:
        return f"{_REFUSED[status]}."
    if isinstance(why, ValueError):
        return f"the hub does not take it ({' '.join(str(why).split())}). Nothing was changed there."
    return (
        f"the hub at {endpoint} is not reached or broke off ({first_line(Exception(str(why) or type(why).__name__))}). "
        "Nothing was changed there. Run this again: what has arrived is not sent a second time."
    )
