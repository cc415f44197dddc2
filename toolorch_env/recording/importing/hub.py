"""Files of data sets from the Hugging Face hub, where the user asks for it."""

from pathlib import Path

from toolorch_env.core.errors import ConfigurationError, DataSetError


def download(repository: str, file: str) -> Path:
    """A file of a data set on the hub, in the hub's own cache.

    Args:
        repository: owner and name, as ``THUDM/ComplexFuncBench``.
        file: path of the file in it.

    Raises:
        ConfigurationError: the package ``huggingface_hub`` is missing.
        DataSetError: the hub cannot be reached, or has no such file.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError:
        raise ConfigurationError(
            "downloading from the hub needs the package huggingface_hub: pip install huggingface_hub; or download"
            f" {file} of {repository} yourself and name the file"
        ) from None
    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        told = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataSetError(
            f"{file} of {repository} cannot be downloaded: {told}; download it elsewhere and name the file"
        ) from None
