"""A model folder from the Hugging Face hub, or to it; every failure is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twostage.errors import ConfigError, HubError

__all__ = ["HUB", "download", "upload"]

HUB = "hf://"
"""With this a model's name on the hub begins, where a folder could be meant."""

FILES = ("model.json", "*.safetensors", "README.md")
"""What a model folder has there; nothing else goes out or comes in."""


def upload(folder: Path, repo: str, private: bool = True, token: str | None = None) -> str:
    """Put a model folder on the hub, as a repository of its own; returns its address.

    Args:
        repo: OWNER/NAME, or NAME alone for the owner of the token.
        private: A repository that is made is for its owner alone; one that is there stays what it is.
        token: Of the hub; else HF_TOKEN, or that of ``hf auth login``.

    Raises:
        ConfigError: That is no name of a repository.
        HubError: The hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    _check(repo)
    with _in_one_line(repo):
        api = HfApi(token=token, library_name="twostage")
        made = api.create_repo(repo, private=private, exist_ok=True)
        said = "Upload a model of twostage"
        api.upload_folder(folder_path=folder, repo_id=made.repo_id, allow_patterns=list(FILES), commit_message=said)
    return str(made)


def download(name: str) -> Path:
    """The folder, in the client's cache, of a model that the hub has: ``hf://OWNER/NAME``, or with @ and a revision.

    Raises:
        ConfigError: That is no name of a repository.
        HubError: There is none, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    repo, _, revision = name.removeprefix(HUB).partition("@")
    _check(repo)
    with _in_one_line(repo):
        return Path(snapshot_download(repo, revision=revision or None, allow_patterns=list(FILES)))


def _check(repo: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(
            f"repo={repo} is no name of a model on the hub: write OWNER/NAME, of letters, digits, - _ and ."
        ) from error


@contextmanager
def _in_one_line(repo: str) -> Iterator[None]:
    """What the client raises, as one line that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise HubError(f"{repo}: the hub cannot be reached, and the model was not fetched before") from error
    except RepositoryNotFoundError as error:
        raise HubError(f"{repo}: no such model on the hub, or none that your token (HF_TOKEN) may see") from error
    except HfHubHTTPError as error:
        token = ": give a token that may do it, in HF_TOKEN or by hf auth login"
        asked = error.response is not None and error.response.status_code in (401, 403)
        raise HubError(f"{repo}: the hub refuses ({_short(error)}){token if asked else ''}") from error
    except Exception as error:  # whatever its network library raises
        raise HubError(f"{repo}: the hub cannot be reached ({_short(error) or type(error).__name__})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
