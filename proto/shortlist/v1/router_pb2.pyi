from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Query(_message.Message):
    __slots__ = ("text", "conversation")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    text: str
    conversation: Conversation
    def __init__(self, text: _Optional[str] = ..., conversation: _Optional[_Union[Conversation, _Mapping]] = ...) -> None: ...

class Conversation(_message.Message):
    __slots__ = ("messages",)
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[ChatMessage]
    def __init__(self, messages: _Optional[_Iterable[_Union[ChatMessage, _Mapping]]] = ...) -> None: ...

class ChatMessage(_message.Message):
    __slots__ = ("role", "content")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    role: str
    content: str
    def __init__(self, role: _Optional[str] = ..., content: _Optional[str] = ...) -> None: ...

class ToolText(_message.Message):
    __slots__ = ("json", "namespace")
    JSON_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    json: str
    namespace: str
    def __init__(self, json: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class SelectToolsRequest(_message.Message):
    __slots__ = ("query", "tools", "top_n", "min_score", "always_include", "max_candidates", "expected_model", "expected_version", "allow_degraded", "return_sources")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_INCLUDE_FIELD_NUMBER: _ClassVar[int]
    MAX_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOW_DEGRADED_FIELD_NUMBER: _ClassVar[int]
    RETURN_SOURCES_FIELD_NUMBER: _ClassVar[int]
    query: Query
    tools: _containers.RepeatedCompositeFieldContainer[ToolText]
    top_n: int
    min_score: float
    always_include: _containers.RepeatedScalarFieldContainer[str]
    max_candidates: int
    expected_model: str
    expected_version: str
    allow_degraded: bool
    return_sources: bool
    def __init__(self, query: _Optional[_Union[Query, _Mapping]] = ..., tools: _Optional[_Iterable[_Union[ToolText, _Mapping]]] = ..., top_n: _Optional[int] = ..., min_score: _Optional[float] = ..., always_include: _Optional[_Iterable[str]] = ..., max_candidates: _Optional[int] = ..., expected_model: _Optional[str] = ..., expected_version: _Optional[str] = ..., allow_degraded: bool = ..., return_sources: bool = ...) -> None: ...

class SelectToolsResponse(_message.Message):
    __slots__ = ("items", "report")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SelectedItem]
    report: SelectionReport
    def __init__(self, items: _Optional[_Iterable[_Union[SelectedItem, _Mapping]]] = ..., report: _Optional[_Union[SelectionReport, _Mapping]] = ...) -> None: ...

class SelectTablesRequest(_message.Message):
    __slots__ = ("query", "ddl", "dialect", "top_n", "min_score", "always_include", "max_candidates", "expected_model", "expected_version", "allow_degraded", "keep_columns", "return_sources")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    DDL_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_INCLUDE_FIELD_NUMBER: _ClassVar[int]
    MAX_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOW_DEGRADED_FIELD_NUMBER: _ClassVar[int]
    KEEP_COLUMNS_FIELD_NUMBER: _ClassVar[int]
    RETURN_SOURCES_FIELD_NUMBER: _ClassVar[int]
    query: Query
    ddl: str
    dialect: str
    top_n: int
    min_score: float
    always_include: _containers.RepeatedScalarFieldContainer[str]
    max_candidates: int
    expected_model: str
    expected_version: str
    allow_degraded: bool
    keep_columns: float
    return_sources: bool
    def __init__(self, query: _Optional[_Union[Query, _Mapping]] = ..., ddl: _Optional[str] = ..., dialect: _Optional[str] = ..., top_n: _Optional[int] = ..., min_score: _Optional[float] = ..., always_include: _Optional[_Iterable[str]] = ..., max_candidates: _Optional[int] = ..., expected_model: _Optional[str] = ..., expected_version: _Optional[str] = ..., allow_degraded: bool = ..., keep_columns: _Optional[float] = ..., return_sources: bool = ...) -> None: ...

class SelectTablesResponse(_message.Message):
    __slots__ = ("items", "report")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SelectedItem]
    report: SelectionReport
    def __init__(self, items: _Optional[_Iterable[_Union[SelectedItem, _Mapping]]] = ..., report: _Optional[_Union[SelectionReport, _Mapping]] = ...) -> None: ...

class RerankRequest(_message.Message):
    __slots__ = ("query", "documents", "top_n", "min_score", "max_candidates", "max_query_tokens", "max_pair_tokens", "overlap_tokens", "return_documents", "expected_model", "expected_version", "allow_degraded")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TOP_N_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    MAX_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    MAX_QUERY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_PAIR_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RETURN_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    ALLOW_DEGRADED_FIELD_NUMBER: _ClassVar[int]
    query: Query
    documents: _containers.RepeatedScalarFieldContainer[str]
    top_n: int
    min_score: float
    max_candidates: int
    max_query_tokens: int
    max_pair_tokens: int
    overlap_tokens: int
    return_documents: bool
    expected_model: str
    expected_version: str
    allow_degraded: bool
    def __init__(self, query: _Optional[_Union[Query, _Mapping]] = ..., documents: _Optional[_Iterable[str]] = ..., top_n: _Optional[int] = ..., min_score: _Optional[float] = ..., max_candidates: _Optional[int] = ..., max_query_tokens: _Optional[int] = ..., max_pair_tokens: _Optional[int] = ..., overlap_tokens: _Optional[int] = ..., return_documents: bool = ..., expected_model: _Optional[str] = ..., expected_version: _Optional[str] = ..., allow_degraded: bool = ...) -> None: ...

class RerankResponse(_message.Message):
    __slots__ = ("items", "report")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[SelectedItem]
    report: SelectionReport
    def __init__(self, items: _Optional[_Iterable[_Union[SelectedItem, _Mapping]]] = ..., report: _Optional[_Union[SelectionReport, _Mapping]] = ...) -> None: ...

class SelectedItem(_message.Message):
    __slots__ = ("name", "index", "rank", "score", "source", "namespace", "always_included", "columns", "members")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ALWAYS_INCLUDED_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    index: int
    rank: int
    score: float
    source: str
    namespace: str
    always_included: bool
    columns: _containers.RepeatedCompositeFieldContainer[SelectedColumn]
    members: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., index: _Optional[int] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., source: _Optional[str] = ..., namespace: _Optional[str] = ..., always_included: bool = ..., columns: _Optional[_Iterable[_Union[SelectedColumn, _Mapping]]] = ..., members: _Optional[_Iterable[str]] = ...) -> None: ...

class SelectedColumn(_message.Message):
    __slots__ = ("name", "score")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    name: str
    score: float
    def __init__(self, name: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class SelectionReport(_message.Message):
    __slots__ = ("num_candidates", "num_scored", "num_dropped", "unparsed", "truncated", "warnings", "model_name", "model_version", "num_tokens", "timings", "degraded", "dialect")
    NUM_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    NUM_SCORED_FIELD_NUMBER: _ClassVar[int]
    NUM_DROPPED_FIELD_NUMBER: _ClassVar[int]
    UNPARSED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    num_candidates: int
    num_scored: int
    num_dropped: int
    unparsed: _containers.RepeatedCompositeFieldContainer[UnparsedItem]
    truncated: _containers.RepeatedCompositeFieldContainer[TruncatedItem]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    model_name: str
    model_version: str
    num_tokens: int
    timings: StageTimings
    degraded: bool
    dialect: str
    def __init__(self, num_candidates: _Optional[int] = ..., num_scored: _Optional[int] = ..., num_dropped: _Optional[int] = ..., unparsed: _Optional[_Iterable[_Union[UnparsedItem, _Mapping]]] = ..., truncated: _Optional[_Iterable[_Union[TruncatedItem, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., num_tokens: _Optional[int] = ..., timings: _Optional[_Union[StageTimings, _Mapping]] = ..., degraded: bool = ..., dialect: _Optional[str] = ...) -> None: ...

class UnparsedItem(_message.Message):
    __slots__ = ("index", "name", "reason", "line", "column", "text_index")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    TEXT_INDEX_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    reason: str
    line: int
    column: int
    text_index: int
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ..., text_index: _Optional[int] = ...) -> None: ...

class TruncatedItem(_message.Message):
    __slots__ = ("index", "name", "kept_tokens", "total_tokens")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    index: int
    name: str
    kept_tokens: int
    total_tokens: int
    def __init__(self, index: _Optional[int] = ..., name: _Optional[str] = ..., kept_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ...) -> None: ...

class StageTimings(_message.Message):
    __slots__ = ("queue_ms", "parse_ms", "retrieve_ms", "tokenize_ms", "infer_ms", "total_ms")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    PARSE_MS_FIELD_NUMBER: _ClassVar[int]
    RETRIEVE_MS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_MS_FIELD_NUMBER: _ClassVar[int]
    INFER_MS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    parse_ms: float
    retrieve_ms: float
    tokenize_ms: float
    infer_ms: float
    total_ms: float
    def __init__(self, queue_ms: _Optional[float] = ..., parse_ms: _Optional[float] = ..., retrieve_ms: _Optional[float] = ..., tokenize_ms: _Optional[float] = ..., infer_ms: _Optional[float] = ..., total_ms: _Optional[float] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("model_name", "model_version", "device", "dtype", "attention", "max_query_tokens", "max_pair_tokens", "default_query_tokens", "default_pair_tokens", "num_parameters", "vocabulary_size", "license", "server_version", "max_message_bytes", "dialects")
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    MAX_QUERY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_PAIR_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_QUERY_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_PAIR_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_SIZE_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DIALECTS_FIELD_NUMBER: _ClassVar[int]
    model_name: str
    model_version: str
    device: str
    dtype: str
    attention: str
    max_query_tokens: int
    max_pair_tokens: int
    default_query_tokens: int
    default_pair_tokens: int
    num_parameters: int
    vocabulary_size: int
    license: str
    server_version: str
    max_message_bytes: int
    dialects: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model_name: _Optional[str] = ..., model_version: _Optional[str] = ..., device: _Optional[str] = ..., dtype: _Optional[str] = ..., attention: _Optional[str] = ..., max_query_tokens: _Optional[int] = ..., max_pair_tokens: _Optional[int] = ..., default_query_tokens: _Optional[int] = ..., default_pair_tokens: _Optional[int] = ..., num_parameters: _Optional[int] = ..., vocabulary_size: _Optional[int] = ..., license: _Optional[str] = ..., server_version: _Optional[str] = ..., max_message_bytes: _Optional[int] = ..., dialects: _Optional[_Iterable[str]] = ...) -> None: ...
