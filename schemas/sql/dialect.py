"""Lists the SQL dialects, and guesses the dialect of a script from words that only this dialect uses."""

from __future__ import annotations

import re

from sqlglot.dialects.dialect import Dialects

from shortlist.schemas.errors import UnknownDialect

__all__ = ["DIALECTS", "likely_dialects", "resolve_dialect"]

# Dialects of sqlglot that have no DDL.
_NOT_DDL = {"", "dax", "prql", "tableau"}
DIALECTS: tuple[str, ...] = tuple(sorted(dialect.value for dialect in Dialects if dialect.value not in _NOT_DDL))

_ALIASES = {
    "ansi": "",
    "azuresql": "tsql",
    "bq": "bigquery",
    "cockroach": "postgres",
    "cockroachdb": "postgres",
    "delta": "databricks",
    "generic": "",
    "googlebigquery": "bigquery",
    "greenplum": "postgres",
    "mariadb": "mysql",
    "memsql": "mysql",
    "mssql": "tsql",
    "oracledb": "oracle",
    "pg": "postgres",
    "pgsql": "postgres",
    "plsql": "oracle",
    "postgresql": "postgres",
    "psql": "postgres",
    "singlestore": "mysql",
    "sparksql": "spark",
    "sqlite3": "sqlite",
    "sqlserver": "tsql",
    "sql": "",
    "standard": "",
    "synapse": "tsql",
    "tidb": "mysql",
    "transactsql": "tsql",
    "yugabyte": "postgres",
}

# Dialect, weight, pattern. A pattern counts at most three times in a script.
_CUES: tuple[tuple[str, int, str], ...] = (
    ("tsql", 6, r"^[ \t]*+GO[ \t\r]*+;?+[ \t\r]*+$"),
    ("tsql", 6, r"\[dbo\]|\bdbo\.|\]\s*\.\s*\[|\]\s+\["),
    ("tsql", 4, r"\bIDENTITY\s*\(\s*\d+\s*,|\b(?:NON)?CLUSTERED\b|\bsp_addextendedproperty\b|\bON\s+\[PRIMARY\]"),
    ("tsql", 3, r"\b(?:NVARCHAR|UNIQUEIDENTIFIER|DATETIME2|DATETIMEOFFSET|SMALLDATETIME|NTEXT|SYSNAME)\b"),
    ("tsql", 2, r"[,(]\s*\[\w[^\[\]\n]*+\]\s+\w"),
    ("postgres", 5, r"\bFROM\s+stdin\b|\bALTER\s+TABLE\s+ONLY\b|\bOWNER\s+TO\b"),
    ("postgres", 5, r"\bnextval\s*\(|\bPARTITION\s+OF\b|^\\\w"),
    ("postgres", 3, r"::\s*\w|\b(?:BIG|SMALL)?SERIAL\b|\bJSONB\b"),
    ("postgres", 3, r"\bBYTEA\b|\bCHARACTER\s+VARYING\b|\bTSVECTOR\b|\bINET\b"),
    ("postgres", 2, r"\bTIMESTAMPTZ\b|\bTIMESTAMP(?:\(\d\))?\s+WITH(?:OUT)?\s+TIME\s+ZONE\b"),
    ("postgres", 2, r"\b\w+_(?:pkey|fkey)\b|\b(?:CREATE|ALTER)\s+TABLE\s+\"[^\"\n]+\"\s+(?:ADD|ALTER|DROP)\b"),
    ("postgres", 4, r"\bCREATE\s+TYPE\s+\S+\s+AS\s+ENUM\b"),
    ("postgres", 2, r"\$\$|\bUSING\s+(?:gin|gist)\b"),
    ("postgres", 2, r"\b(?:TEXT|INTEGER|INT|VARCHAR|UUID|NUMERIC)(?:\(\d+\))?\[\]"),
    ("mysql", 5, r"/\*!\d|\bENGINE\s*=\s*(?:InnoDB|MyISAM|MEMORY|ARIA|CSV)\b|\bAUTO_INCREMENT\b|^DELIMITER\s"),
    ("mysql", 3, r"\bUNSIGNED\b|\b(?:TINY|MEDIUM|BIG)INT\s*\(\d+\)|\b(?:LONG|MEDIUM|TINY)(?:TEXT|BLOB)\b|\bKEY\s+`"),
    ("mysql", 3, r"\bDEFAULT\s+CHARSET\b|\bCHARACTER\s+SET\b"),
    ("mysql", 3, r"\bON\s+UPDATE\s+CURRENT_TIMESTAMP\b|(?<!AS )\bENUM\s*\(\s*'|\bFULLTEXT\b"),
    ("mysql", 2, r"^[ \t]*`\w+`\s+(?:int|varchar|char|text|datetime|date|decimal|double)\b"),
    ("oracle", 5, r"\bN?VARCHAR2\b|\bPCTFREE\b|\bSTORAGE\s*\(\s*INITIAL\b|^/[ \t\r]*$"),
    ("oracle", 2, r"\bNUMBER\s*\(|\bCLOB\b|\bSYSDATE\b|\bTABLESPACE\b|\bUSING\s+INDEX\b|\bENABLE\b"),
    ("bigquery", 5, r"\bOPTIONS\s*\(\s*\w+\s*=|`[\w-]+\.[\w-]+\.[\w$*-]+`|\bSTRUCT\s*<|\bARRAY\s*<"),
    ("bigquery", 4, r"\b(?:INT64|FLOAT64|BIGNUMERIC|BOOL)\b"),
    ("bigquery", 1, r"\bSTRING\b|\bBYTES\b|\bGEOGRAPHY\b"),
    ("snowflake", 5, r"\bVARCHAR\(16777216\)|\bTIMESTAMP_(?:NTZ|LTZ|TZ)\b"),
    ("snowflake", 5, r"\bVARIANT\b|\bNUMBER\(38,\s*0\)|\bTRANSIENT\b"),
    ("snowflake", 3, r"\bCREATE\s+OR\s+REPLACE\s+(?:TRANSIENT\s+)?TABLE\b"),
    ("snowflake", 3, r"\bAUTOINCREMENT\s+START\b|\bCOPY\s+GRANTS\b"),
    ("snowflake", 3, r"\bCOMMENT\s*=\s*'|\bMASKING\s+POLICY\b|\bFILE_FORMAT\b"),
    ("sqlite", 5, r"\bAUTOINCREMENT\b(?!\s+(?:START|NOT|COMMENT))|\bWITHOUT\s+ROWID\b"),
    ("sqlite", 5, r"\bPRAGMA\b|\bUSING\s+fts\d\b|sqlite_"),
    ("sqlite", 2, r"\bINTEGER\s+(?:NOT\s+NULL\s+)?PRIMARY\s+KEY\b"),
    ("sqlite", 2, r"[,(]\s*\"[^\"\n]+\"\s+(?:INTEGER|TEXT|REAL)\b"),
    ("sqlite", 10, r"[,(]\s*\[\w[^\[\]\n]*+\]\s+(?:INTEGER|TEXT|REAL)\b"),
    ("duckdb", 5, r"\b(?:HUGEINT|UBIGINT|UINTEGER|USMALLINT|UTINYINT)\b|\bSTRUCT\s*\("),
    ("duckdb", 5, r"\bread_(?:csv|parquet)|\bATTACH\b"),
    ("duckdb", 3, r"\bMAP\s*\(\s*\w+\s*,|\bCREATE\s+TYPE\s+\w+\s+AS\s+ENUM\b.{0,200}\bUNION\s*\("),
    ("redshift", 7, r"\bDISTKEY\b|\bSORTKEY\b|\bDISTSTYLE\b|\bENCODE\s+(?:zstd|lzo|az64|raw|delta|bytedict)\b"),
    ("clickhouse", 7, r"\bENGINE\s*+=?+\s*+\w*(?:MergeTree|Distributed|Log|Kafka|Buffer)\b"),
    ("clickhouse", 7, r"\bLowCardinality\s*\(|\bNullable\s*\("),
    ("clickhouse", 4, r"\bU?Int(?:8|16|32|64|128|256)\b|\bDateTime64\b|\bEnum(?:8|16)\b|\bCODEC\s*\("),
    ("databricks", 6, r"\bUSING\s+DELTA\b|\bLIQUID\b"),
    ("databricks", 6, r"\bdelta\.\w+|\bGENERATED\s+BY\s+DEFAULT\s+AS\s+IDENTITY\b.{0,2000}\bDELTA\b"),
    ("spark", 6, r"\bUSING\s+(?:PARQUET|ICEBERG|ORC|CSV|JSON|AVRO|HUDI)\b"),
    ("spark", 2, r"\bTBLPROPERTIES\b|\bPARTITIONED\s+BY\b"),
    ("hive", 5, r"\bROW\s+FORMAT\b|\bSTORED\s+AS\b|\bSERDE(?:PROPERTIES)?\b|\bCLUSTERED\s+BY\b"),
    ("hive", 2, r"\bTBLPROPERTIES\b|\bPARTITIONED\s+BY\b|\bMAP\s*<"),
    ("trino", 6, r"\bWITH\s*\(\s*\w+\s*=\s*(?:'(?:ORC|PARQUET|AVRO)'|ARRAY\s*\[)"),
    ("trino", 6, r"\bpartition(?:ed_by|ing)\s*=|\bROW\s*\(\s*\w+\s+\w"),
    ("teradata", 6, r"\b(?:MULTISET|VOLATILE)\s+TABLE\b|\bPRIMARY\s+INDEX\b|\bNO\s+FALLBACK\b"),
    ("starrocks", 6, r"\b(?:DUPLICATE|AGGREGATE)\s+KEY\s*\(|\bDISTRIBUTED\s+BY\s+(?:HASH|RANDOM)\b"),
    ("exasol", 6, r"\bDISTRIBUTE\s+BY\b"),
)
_COMPILED = tuple(
    (dialect, weight, re.compile(cue, re.IGNORECASE | re.MULTILINE if dialect != "clickhouse" else re.MULTILINE))
    for dialect, weight, cue in _CUES
)


def resolve_dialect(name: str) -> str:
    """Returns sqlglot's name for a dialect; accepts any case and common other names (``postgresql``, ``mssql``).

    Raises:
        UnknownDialect: no dialect has that name.
    """
    key = re.sub(r"[\s_-]", "", name.strip().lower())
    resolved = _ALIASES.get(key, key)
    if resolved and resolved not in DIALECTS:
        raise UnknownDialect(name[:80], DIALECTS)
    return resolved


def likely_dialects(definitions: str) -> list[str]:
    """Returns the dialects whose cues occur in a script, the likeliest first; ties are ordered by name."""
    scores: dict[str, int] = {}
    for dialect, weight, cue in _COMPILED:
        if found := sum(1 for _, _ in zip(cue.finditer(definitions), range(3), strict=False)):
            scores[dialect] = scores.get(dialect, 0) + weight * found
    return sorted(scores, key=lambda dialect: (-scores[dialect], dialect))
