"""Tables of a snapshot and of a store of recorded calls, format version 2. Readable with any SQL tool."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, MetaData, SmallInteger, String, Table, Text

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
    comment="Provenance: name, description, source, licence, created_at, content_hash, toolorch_version.",
)

tools = Table(
    "tools",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("parameters", Text, nullable=False, comment="JSON Schema"),
    Column("miss_status", SmallInteger, nullable=False),
    Column("miss_body", Text, nullable=False, comment="JSON"),
    Column("read_only", SmallInteger, nullable=False),
)

responses = Table(
    "responses",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False,
           comment="first 8 bytes of the call's key, big endian, signed"),
    Column("key_rest", BigInteger, nullable=False, comment="last 8 bytes of the key"),
    Column("tool_id", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("state", LargeBinary, comment="key of the latest state-changing call before; null where there is none"),
    Column("digest", BigInteger, nullable=False, comment="of a successful body that says something, else 0"),
    Column("latency_us", BigInteger, nullable=False, comment="microseconds"),
    Column("recorded_at", BigInteger, nullable=False, comment="Unix time in seconds"),
    Column("content", LargeBinary, nullable=False, comment="zstd: canonical arguments, a newline, the body"),
)  # fmt: skip

rounded_keys = Table(
    "rounded_keys",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False,
           comment="first 8 bytes of the key of the call with rounded fractions"),
    Column("key_rest", BigInteger, nullable=False),
    Column("response_id", BigInteger, nullable=False),
    comment="Calls with fractions in their arguments, found again when an agent rounds them.",
)  # fmt: skip

blobs = Table(
    "blobs",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
    comment="dictionary (zstd), workflows (JSON), tasks (zstd, JSON lines), compiled (derived), links (of stores).",
)
