"""Numbers of the Proxy-Wasm ABI, and edgesim's limits on what filters keep.

Source: Proxy-Wasm ABI v0.2.1, section "Types".
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """`proxy_status_t`: what every host function returns."""

    OK = 0
    NOT_FOUND = 1
    BAD_ARGUMENT = 2
    SERIALIZATION_FAILURE = 3
    PARSE_FAILURE = 4
    INVALID_MEMORY_ACCESS = 6
    EMPTY = 7
    CAS_MISMATCH = 8
    INTERNAL_FAILURE = 10
    UNIMPLEMENTED = 12


class Map(IntEnum):
    """`proxy_map_type_t`."""

    REQUEST_HEADERS = 0
    REQUEST_TRAILERS = 1
    RESPONSE_HEADERS = 2
    RESPONSE_TRAILERS = 3
    GRPC_INITIAL_METADATA = 4
    GRPC_TRAILING_METADATA = 5
    CALL_RESPONSE_HEADERS = 6
    CALL_RESPONSE_TRAILERS = 7


class Buffer(IntEnum):
    """`proxy_buffer_type_t`."""

    REQUEST_BODY = 0
    RESPONSE_BODY = 1
    DOWNSTREAM_DATA = 2
    UPSTREAM_DATA = 3
    CALL_RESPONSE_BODY = 4
    GRPC_CALL_MESSAGE = 5
    VM_CONFIGURATION = 6
    PLUGIN_CONFIGURATION = 7
    FOREIGN_FUNCTION_ARGUMENTS = 8


class Side(IntEnum):
    """`proxy_stream_type_t`."""

    REQUEST = 0
    RESPONSE = 1
    DOWNSTREAM = 2
    UPSTREAM = 3


class Level(IntEnum):
    """`proxy_log_level_t`."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    CRITICAL = 5


class Metric(IntEnum):
    """`proxy_metric_type_t`."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


CONTINUE: Final = 0
PAUSE: Final = 1
"""`proxy_action_t`. Whatever is not CONTINUE pauses: SDKs define more reasons to stop, after Envoy's."""
PLUGIN_CONTEXT: Final = 1
STREAM_CONTEXT: Final = 2
"""Context ids: every VM has one plugin context and at most one stream."""

MAX_FIELDS: Final = 256
MAX_FIELDS_BYTES: Final = 64 * 1024
"""Of one map, names and values together."""
MAX_SHARED_KEYS: Final = 1024
MAX_SHARED_BYTES: Final = 4 << 20
MAX_KEY_BYTES: Final = 1024
MAX_QUEUES: Final = 32
MAX_QUEUE_ITEMS: Final = 1024
MAX_QUEUE_BYTES: Final = 1 << 20
"""Of one queue."""
MAX_METRICS: Final = 256
MAX_PROPERTIES: Final = 64
MAX_PROPERTY_BYTES: Final = 16 * 1024
MAX_CALLS: Final = 8
"""HTTP calls of one VM that are under way at the same time."""
MAX_CALLS_IN_ALL: Final = 32
MIN_TICK_S: Final = 0.010
