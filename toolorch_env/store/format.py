"""What tells a snapshot, and a recording that is not finished, from other SQLite files."""

FORMAT_VERSION = 2
"""Stands in SQLite's ``user_version``. A reader refuses files of a newer format."""

APPLICATION_ID = 0x544F4F52
"""``TOOR``: stands in SQLite's ``application_id`` and tells a snapshot from other SQLite files."""

RECORDING_APPLICATION_ID = 0x544F4F53
"""``TOOS``: the ``application_id`` of a recording that is not finished."""

PAGE_SIZE = 16_384
"""Bytes; responses of several kilobytes lie on one page, and are read at once."""

SMALL_PAGE_SIZE = 2048
"""Bytes, of snapshots of at most :data:`SMALL_SNAPSHOT` responses: half-empty pages would be a good part of them."""

SMALL_SNAPSHOT = 2000
