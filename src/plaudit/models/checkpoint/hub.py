"""Upload of a folder to a repository of the hub."""

from __future__ import annotations

from pathlib import Path

from plaudit.errors import OutputError

NOT_PUSHED = ("optimizer*", "scheduler*", "rng_state*", "trainer_state.json", "training_args.bin", "complete.json")
"""Files of a checkpoint that training resumes from, and no model is."""


def upload_folder(
    folder: Path, repo: str, *, private: bool = False, revision: str | None = None, message: str = "Model"
) -> str:
    """Return the address of a repository of models to which the files of ``folder`` were pushed as one commit.

    It is made where it does not exist. Files that only training resumes from are left out.

    Raises:
        OutputError: when the hub cannot be reached or does not take them.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    api = huggingface_hub.HfApi()
    try:
        address = api.create_repo(repo, private=private, repo_type="model", exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        api.upload_folder(
            folder_path=str(folder),
            repo_id=repo,
            repo_type="model",
            revision=revision,
            commit_message=message,
            ignore_patterns=list(NOT_PUSHED),
        )
    except (OSError, ValueError, *HfHubHTTPError.__bases__) as error:
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise OutputError(f"cannot push {folder} to {repo}: {words}; log in with: hf auth login") from error
    return str(address)
