"""Text that can be written."""


def readable(text: str) -> str:
    """A text with question marks for halves of characters, which JSON may spell out and UTF-8 cannot write."""
    return text.encode("utf-8", "replace").decode()
