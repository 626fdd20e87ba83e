"""Scripts as tools write them: what they define is read in full, without the dialect being given.

An expected line names the table, its columns (`*` marks the primary key), comments in quotes, and foreign keys.
"""

from __future__ import annotations

import pytest

from shortlist.schemas.document import Column, Table
from shortlist.schemas.sql.parse import parse_tables

# Each script with its tables.
CASES: list[tuple[str, str, list[str]]] = [
    (
        "pg_dump 17 with restrict, identity and generated columns",
        r"""
--
-- PostgreSQL database dump
--

\restrict Xk3pQ0a9

-- Dumped from database version 17.6
-- Dumped by pg_dump version 17.6

SELECT pg_catalog.set_config('search_path', '', false);
--
-- Name: invoices; Type: TABLE; Schema: billing; Owner: app
--

CREATE TABLE billing.invoices (
    id bigint NOT NULL,
    net numeric(10,2) DEFAULT 0.00 NOT NULL,
    gross numeric(10,2) GENERATED ALWAYS AS ((net * 1.19)) STORED,
    customer_id uuid,
    CONSTRAINT net_is_positive CHECK ((net >= (0)::numeric))
);

ALTER TABLE billing.invoices OWNER TO app;
COMMENT ON TABLE billing.invoices IS 'what we bill; one a month';
COMMENT ON COLUMN billing.invoices.net IS 'without VAT';
ALTER TABLE ONLY billing.invoices ADD CONSTRAINT invoices_pkey PRIMARY KEY (id);
ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT fk_customer FOREIGN KEY (customer_id) REFERENCES crm.customers(id) ON DELETE SET NULL NOT VALID;
\unrestrict Xk3pQ0a9
""",
        [
            (
                "billing.invoices (id*, net 'without VAT', gross, customer_id) 'what we bill; one a month' "
                "customer_id->crm.customers(id)"
            )
        ],
    ),
    (
        "pg_dump 8.4 with search_path and SERIAL sequences",
        r"""
SET client_encoding = 'UTF8';
SET search_path = shop, pg_catalog;
SET default_with_oids = false;
CREATE TABLE items (
    id integer NOT NULL,
    label character varying(255) DEFAULT 'it''s new'::character varying NOT NULL,
    tags text[] DEFAULT '{}'::text[]
);
COMMENT ON COLUMN items.tags IS E'words;\nfree';
CREATE SEQUENCE items_id_seq START WITH 1 INCREMENT BY 1 NO MAXVALUE NO MINVALUE CACHE 1;
ALTER SEQUENCE items_id_seq OWNED BY items.id;
ALTER TABLE items ALTER COLUMN id SET DEFAULT nextval('items_id_seq'::regclass);
COPY items (id, label, tags) FROM stdin;
1	CREATE TABLE x (y int);	{}
2	it's	{a}
\.
ALTER TABLE ONLY items ADD CONSTRAINT items_pkey PRIMARY KEY (id);
""",
        ["items (id*, label, tags 'words; free')"],
    ),
    (
        "pg_dump of a partitioned table, view, materialized view and foreign table",
        """
CREATE TABLE public.hits (
    at timestamp with time zone NOT NULL,
    page text
)
PARTITION BY RANGE (at);
CREATE TABLE public.hits_2024 (
    at timestamp with time zone NOT NULL,
    page text
);
ALTER TABLE ONLY public.hits ATTACH PARTITION public.hits_2024 FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE VIEW public.daily AS
 SELECT (date_trunc('day'::text, hits.at))::date AS day,
    count(*) AS num
   FROM public.hits
  GROUP BY ((date_trunc('day'::text, hits.at))::date);
CREATE MATERIALIZED VIEW public.pages AS
 SELECT DISTINCT hits.page
   FROM public.hits
  WITH NO DATA;
CREATE FOREIGN TABLE public.remote_users (
    id integer OPTIONS (column_name 'uid') NOT NULL,
    mail text
)
SERVER other
OPTIONS (table_name 'users');
""",
        [
            "public.hits (at, page)",
            "public.hits_2024 (at, page)",
            "view public.daily (day, num)",
            "materialized view public.pages (page)",
            "public.remote_users (id, mail)",
        ],
    ),
    (
        "pg_dump with a trigger function that mentions tables",
        """
CREATE FUNCTION public.audit() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$
begin
  execute 'create table archive_' || tg_relname || ' (x int)';
  create temp table if not exists seen (id int);
  insert into seen values (1);
  return new;
end;
$_$;
ALTER FUNCTION public.audit() OWNER TO app;
CREATE TABLE public.real_one (
    id integer NOT NULL
);
CREATE TRIGGER t AFTER INSERT ON public.real_one FOR EACH ROW EXECUTE FUNCTION public.audit();
CREATE RULE r AS ON DELETE TO public.real_one DO INSTEAD NOTHING;
ALTER TABLE ONLY public.real_one ADD CONSTRAINT real_one_pkey PRIMARY KEY (id);
""",
        ["public.real_one (id*)"],
    ),
    (
        "PostgreSQL routines with BEGIN ATOMIC",
        """
CREATE FUNCTION public.f(a integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT a;
 SELECT CASE WHEN a > 1 THEN 2 ELSE 3 END;
END;
CREATE TABLE public.a (id integer NOT NULL);
CREATE PROCEDURE public.p() LANGUAGE sql BEGIN ATOMIC INSERT INTO public.a VALUES (1); END;
CREATE TABLE public.b (id integer NOT NULL);
""",
        ["public.a (id)", "public.b (id)"],
    ),
    (
        "mysqldump --databases",
        """
-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!50503 SET NAMES utf8mb4 */;

--
-- Current Database: `shop`
--

CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 */ /*!80016 DEFAULT
  ENCRYPTION='N' */;
USE `shop`;

--
-- Table structure for table `orders`
--

DROP TABLE IF EXISTS `orders`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
CREATE TABLE `orders` (
  `id` int unsigned NOT NULL AUTO_INCREMENT COMMENT 'number; printed',
  `state` enum('new','paid') COLLATE utf8mb4_general_ci DEFAULT 'new',
  `customer_id` int DEFAULT NULL,
  `day` date GENERATED ALWAYS AS (cast(`at` as date)) VIRTUAL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `u` (`state`,`customer_id`),
  KEY `customer_id` (`customer_id`),
  CONSTRAINT `o_fk` FOREIGN KEY (`customer_id`) REFERENCES `crm`.`customers` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4 COMMENT='the customer''s orders';
/*!40101 SET character_set_client = @saved_cs_client */;
""",
        [
            (
                "orders (id* 'number; printed', state, customer_id, day) 'the customer's orders' "
                "customer_id->crm.customers(id)"
            )
        ],
    ),
    (
        "mysqldump view stand-in, trigger and routine",
        """
SET @saved_cs_client     = @@character_set_client;
/*!50503 SET character_set_client = utf8mb4 */;
/*!50001 CREATE VIEW `open_orders` AS SELECT 
 1 AS `id`,
 1 AS `total`*/;
SET character_set_client = @saved_cs_client;
CREATE TABLE `orders` (`id` int NOT NULL, `total` decimal(9,2), PRIMARY KEY (`id`));
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`%`*/ /*!50003 TRIGGER `t` BEFORE INSERT ON `orders` FOR EACH ROW begin
  create temporary table if not exists x (y int);
end */;;
DELIMITER ;
DELIMITER ;;
CREATE DEFINER=`root`@`localhost` PROCEDURE `p`()
BEGIN
  DROP TABLE IF EXISTS tmp; CREATE TABLE tmp (a int);
END ;;
DELIMITER ;
/*!50001 DROP VIEW IF EXISTS `open_orders`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`%` SQL SECURITY DEFINER */
/*!50001 VIEW `open_orders` AS select `o`.`id` AS `id`,`o`.`total` AS `total` from `orders` `o` */;
""",
        ["orders (id*, total)", "view open_orders (id, total)"],
    ),
    (
        "mariadb-dump with sandbox mode, check and period",
        r"""
/*M!999999\- enable the sandbox mode */
-- MariaDB dump 10.19-11.4.2-MariaDB, for debian-linux-gnu (x86_64)
CREATE TABLE `settings` (
  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `value` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`value`)),
  `start` timestamp(6) GENERATED ALWAYS AS ROW START,
  `end` timestamp(6) GENERATED ALWAYS AS ROW END,
  PRIMARY KEY (`id`,`end`),
  PERIOD FOR SYSTEM_TIME (`start`, `end`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci WITH SYSTEM VERSIONING;
""",
        ["settings (id*, value, start, end*)"],
    ),
    (
        "SSMS Generate Scripts",
        """
USE [Shop]
GO
/****** Object:  Table [sales].[Order]    Script Date: 3/1/2024 10:12:11 AM ******/
SET ANSI_NULLS ON
GO
SET QUOTED_IDENTIFIER ON
GO
CREATE TABLE [sales].[Order](
	[OrderID] [int] IDENTITY(1,1) NOT NULL,
	[Customer ID] [int] NULL,
	[Total]  AS ([Net]*(1.19)) PERSISTED,
	[Net] [decimal](10, 2) NOT NULL,
 CONSTRAINT [PK_Order] PRIMARY KEY CLUSTERED 
(
	[OrderID] ASC
)WITH (PAD_INDEX = OFF, STATISTICS_NORECOMPUTE = OFF, OPTIMIZE_FOR_SEQUENTIAL_KEY = OFF) ON [PRIMARY]
) ON [PRIMARY]
GO
ALTER TABLE [sales].[Order] ADD  CONSTRAINT [DF_Net]  DEFAULT ((0)) FOR [Net]
GO
ALTER TABLE [sales].[Order]  WITH CHECK ADD  CONSTRAINT [FK_Order_Customer] FOREIGN KEY([Customer ID])
REFERENCES [sales].[Customer] ([ID])
GO
ALTER TABLE [sales].[Order] CHECK CONSTRAINT [FK_Order_Customer]
GO
EXEC sys.sp_addextendedproperty @name=N'MS_Description', @value=N'price; net' ,
  @level0type=N'SCHEMA',@level0name=N'sales', @level1type=N'TABLE',@level1name=N'Order',
  @level2type=N'COLUMN',@level2name=N'Net'
GO
""",
        ["sales.Order (OrderID*, Customer ID, Total, Net 'price; net') Customer ID->sales.Customer(ID)"],
    ),
    (
        "Oracle SQL Developer export",
        """
--------------------------------------------------------
--  File created - Friday-March-01-2024   
--------------------------------------------------------
--------------------------------------------------------
--  DDL for Table EMP
--------------------------------------------------------

  CREATE TABLE "HR"."EMP" 
   (	"EMP_ID" NUMBER(6,0)
  GENERATED ALWAYS AS IDENTITY MINVALUE 1 MAXVALUE 9999999999999999999999999999 INCREMENT BY 1 START WITH 1
  CACHE 20 NOORDER  NOCYCLE  NOKEEP  NOSCALE , 
	"NAME" VARCHAR2(40 BYTE) COLLATE "USING_NLS_COMP" DEFAULT 'n/a', 
	"DEPT_ID" NUMBER(4,0)
   )  DEFAULT COLLATION "USING_NLS_COMP" SEGMENT CREATION IMMEDIATE 
  PCTFREE 10 PCTUSED 40 INITRANS 1 MAXTRANS 255 
 NOCOMPRESS LOGGING
  STORAGE(INITIAL 65536 NEXT 1048576 MINEXTENTS 1 MAXEXTENTS 2147483645)
  TABLESPACE "USERS" ;

   COMMENT ON COLUMN "HR"."EMP"."NAME" IS 'Last; first';
   COMMENT ON TABLE "HR"."EMP"  IS 'staff';
SET DEFINE OFF;
  CREATE UNIQUE INDEX "HR"."EMP_PK" ON "HR"."EMP" ("EMP_ID") ;
  ALTER TABLE "HR"."EMP" ADD CONSTRAINT "EMP_PK" PRIMARY KEY ("EMP_ID")
  USING INDEX PCTFREE 10 INITRANS 2 MAXTRANS 255 
  TABLESPACE "USERS"  ENABLE;
  ALTER TABLE "HR"."EMP" ADD CONSTRAINT "EMP_DEPT_FK" FOREIGN KEY ("DEPT_ID")
      REFERENCES "HR"."DEPT" ("DEPT_ID") ENABLE;
  ALTER TABLE "HR"."EMP" MODIFY ("EMP_ID" NOT NULL ENABLE);
""",
        ["HR.EMP (EMP_ID*, NAME 'Last; first', DEPT_ID) 'staff' DEPT_ID->HR.DEPT(DEPT_ID)"],
    ),
    (
        "Oracle partitioned, index-organised and temporary tables",
        """
CREATE TABLE sales_fact
(
  sale_id    NUMBER(12) NOT NULL,
  sold_on    DATE NOT NULL,
  amount     NUMBER(10,2) DEFAULT ON NULL 0 CONSTRAINT amount_ck CHECK (amount >= 0),
  CONSTRAINT sales_fact_pk PRIMARY KEY (sale_id, sold_on) USING INDEX LOCAL RELY DISABLE NOVALIDATE
)
PARTITION BY RANGE (sold_on) INTERVAL (NUMTOYMINTERVAL(1,'MONTH'))
(
  PARTITION p0 VALUES LESS THAN (TO_DATE('2020-01-01','YYYY-MM-DD')) TABLESPACE ts1,
  PARTITION p1 VALUES LESS THAN (MAXVALUE)
)
PARALLEL 4 NOLOGGING COMPRESS FOR QUERY HIGH;
CREATE TABLE lookups (code VARCHAR2(5) PRIMARY KEY, text VARCHAR2(99))
  ORGANIZATION INDEX INCLUDING code OVERFLOW TABLESPACE ts2;
CREATE GLOBAL TEMPORARY TABLE gtt (x NUMBER) ON COMMIT PRESERVE ROWS;
CREATE TABLE ext (line VARCHAR2(4000)) ORGANIZATION EXTERNAL
 (TYPE ORACLE_LOADER DEFAULT DIRECTORY d ACCESS PARAMETERS (RECORDS DELIMITED BY NEWLINE FIELDS TERMINATED BY
  ',') LOCATION ('x.csv')) REJECT LIMIT UNLIMITED;
ALTER TABLE lookups ADD (extra CLOB, more VARCHAR2(10) DEFAULT 'a' NOT NULL) LOB (extra) STORE AS (TABLESPACE ts2);
""",
        ["sales_fact (sale_id*, sold_on*, amount)", "lookups (code*, text, extra, more)", "gtt (x)", "ext (line)"],
    ),
    (
        "ClickHouse SHOW CREATE",
        r"""
CREATE TABLE shop.events
(
    `id` UUID DEFAULT generateUUIDv4(),
    `day` Date MATERIALIZED toDate(ts) COMMENT 'partition; day',
    `ts` DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    `tags` Map(LowCardinality(String), String),
    `nested.a` Array(UInt8),
    `nested.b` Array(String),
    `state` Enum8('new' = 1, 'it\'s' = 2),
    `agg` AggregateFunction(uniq, UInt64),
    INDEX idx_tags mapKeys(tags) TYPE bloom_filter(0.01) GRANULARITY 1,
    PROJECTION p ( SELECT day, count() GROUP BY day ),
    CONSTRAINT c CHECK ts > 0
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/events', '{replica}')
PARTITION BY toYYYYMM(day)
PRIMARY KEY (day, id)
ORDER BY (day, id)
TTL day + toIntervalMonth(3)
SETTINGS index_granularity = 8192
COMMENT 'raw events';
CREATE MATERIALIZED VIEW shop.daily TO shop.daily_data
(
    `day` Date,
    `n` UInt64
)
AS SELECT day, count() AS n FROM shop.events GROUP BY day;
CREATE DICTIONARY shop.d (`k` UInt64, `v` String) PRIMARY KEY k SOURCE(CLICKHOUSE(TABLE 't')) LAYOUT(FLAT())
  LIFETIME(60);
""",
        [
            "shop.events (id*, day* 'partition; day', ts, tags, nested.a, nested.b, state, agg) 'raw events'",
            "materialized view shop.daily (day, n)",
        ],
    ),
    (
        "Snowflake GET_DDL of a schema",
        """
create or replace schema SHOP;

create or replace TABLE ORDERS cluster by (DAY)(
	ID NUMBER(38,0) NOT NULL autoincrement start 1 increment 1 order COMMENT 'number',
	DAY DATE,
	DOC VARIANT COLLATE 'en-ci',
	MAIL VARCHAR(16777216) WITH MASKING POLICY SHOP.MASK_MAIL WITH TAG (SHOP.PII='yes'),
	CUST_ID NUMBER(38,0),
	primary key (ID) rely ,
	foreign key (CUST_ID) references SHOP_DB.SHOP.CUST(ID)
)COMMENT='orders; all'
;
create or replace TRANSIENT TABLE STAGE_T (
	X VARCHAR(16777216)
);
create or replace view V(
	ID COMMENT 'n',
	DAY
) COMMENT='view'
 as select id, day from orders;
CREATE OR REPLACE PROCEDURE "P"()
RETURNS VARCHAR(16777216)
LANGUAGE SQL
EXECUTE AS OWNER
AS 'begin
  create table X (a int);
end';
create or replace dynamic table DT(A, B) target_lag = '1 minute' warehouse = W as select 1 a, 2 b;
""",
        [
            "ORDERS (ID* 'number', DAY, DOC, MAIL, CUST_ID) 'orders; all' CUST_ID->SHOP_DB.SHOP.CUST(ID)",
            "STAGE_T (X)",
            "view V (ID 'n', DAY) 'view'",
            "DT (A, B)",
        ],
    ),
    (
        "Hive SHOW CREATE TABLE",
        """
CREATE EXTERNAL TABLE `logs.clicks`(
  `ts` timestamp COMMENT 'when', 
  `url` string, 
  `m` map<string,array<int>>)
COMMENT 'clicks'
PARTITIONED BY ( 
  `day` string COMMENT 'yyyy-mm-dd')
CLUSTERED BY ( 
  url) 
INTO 8 BUCKETS
ROW FORMAT SERDE 
  'org.apache.hadoop.hive.ql.io.orc.OrcSerde' 
STORED AS INPUTFORMAT 
  'org.apache.hadoop.hive.ql.io.orc.OrcInputFormat' 
OUTPUTFORMAT 
  'org.apache.hadoop.hive.ql.io.orc.OrcOutputFormat'
LOCATION
  'hdfs://nn/warehouse/clicks'
TBLPROPERTIES (
  'transient_lastDdlTime'='1700000000')
""",
        ["logs.clicks (ts 'when', url, m, day 'yyyy-mm-dd') 'clicks'"],
    ),
    (
        "Trino SHOW CREATE",
        """
CREATE TABLE hive.shop.orders (
   id bigint NOT NULL COMMENT 'number',
   items array(row(sku varchar, n integer)),
   at timestamp(6) with time zone,
   day date
)
COMMENT 'orders'
WITH (
   format = 'ORC',
   partitioning = ARRAY['day','bucket(id, 8)'],
   location = 's3://b/orders'
);
CREATE VIEW hive.shop.v COMMENT 'view' SECURITY DEFINER AS
SELECT id, day FROM hive.shop.orders;
CREATE MATERIALIZED VIEW iceberg.shop.mv GRACE PERIOD INTERVAL '1' DAY WITH (format = 'PARQUET') AS SELECT day,
  count(*) n FROM hive.shop.orders GROUP BY 1;
""",
        [
            "hive.shop.orders (id 'number', items, at, day) 'orders'",
            "view hive.shop.v (id, day) 'view'",
            "materialized view iceberg.shop.mv (day, n)",
        ],
    ),
    (
        "StarRocks SHOW CREATE TABLE",
        """
CREATE TABLE `orders` (
  `id` bigint(20) NOT NULL COMMENT "number",
  `day` date NOT NULL COMMENT "",
  `amount` decimal(10, 2) SUM NULL DEFAULT "0" COMMENT "total",
  `users` bitmap BITMAP_UNION NULL,
  INDEX idx_day (`day`) USING BITMAP COMMENT 'i'
) ENGINE=OLAP 
AGGREGATE KEY(`id`, `day`)
COMMENT "orders; all"
PARTITION BY RANGE(`day`)
(PARTITION p202401 VALUES [("2024-01-01"), ("2024-02-01")),
PARTITION p202402 VALUES [("2024-02-01"), ("2024-03-01")))
DISTRIBUTED BY HASH(`id`) BUCKETS 8 
PROPERTIES (
"replication_num" = "3",
"in_memory" = "false"
);
""",
        ["orders (id 'number', day, amount 'total', users) 'orders; all'"],
    ),
    (
        "Doris SHOW CREATE TABLE",
        """
CREATE TABLE `events` (
  `id` bigint NOT NULL AUTO_INCREMENT(1) COMMENT 'number',
  `day` datetime NULL,
  `doc` variant NULL,
  `v` array<int> NULL COMMENT 'values',
  INDEX idx (`doc`) USING INVERTED PROPERTIES("parser" = "english") COMMENT ''
) ENGINE=OLAP
UNIQUE KEY(`id`)
COMMENT 'raw'
AUTO PARTITION BY RANGE (date_trunc(`day`, 'month'))
()
DISTRIBUTED BY HASH(`id`) BUCKETS AUTO
PROPERTIES (
"replication_allocation" = "tag.location.default: 1"
);
""",
        ["events (id 'number', day, doc, v 'values') 'raw'"],
    ),
    (
        "SAP ASE ddlgen",
        """
-----------------------------------------------------------------------------
-- DDL for Table 'shop.dbo.orders'
-----------------------------------------------------------------------------
print '<<<<< CREATING Table - "shop.dbo.orders" >>>>>'
go

use shop
go 

create table orders (
	id                              int                              identity  ,
	name                            univarchar(40)                       null  ,
	price                           money                  DEFAULT  0
  not null   CONSTRAINT price_ck CHECK (price >= 0)
   ,
	doc                             text                             null  ,
 CONSTRAINT orders_pk PRIMARY KEY NONCLUSTERED ( id )  on 'default' 
)
lock allpages
with identity_gap = 1
 on 'default'
partition by roundrobin 1
go 

alter table shop.dbo.orders
add constraint orders_fk FOREIGN KEY (name) REFERENCES shop.dbo.names(name)
go
""",
        ["orders (id*, name, price, doc) name->shop.dbo.names(name)"],
    ),
    (
        "HSQLDB script",
        """
SET DATABASE UNIQUE NAME HSQLDB12345
SET DATABASE DEFAULT RESULT MEMORY ROWS 0
CREATE USER SA PASSWORD DIGEST 'd41d8cd98f00b204e9800998ecf8427e'
CREATE SCHEMA PUBLIC AUTHORIZATION DBA
SET SCHEMA PUBLIC
CREATE MEMORY TABLE PUBLIC.NAMES(NAME VARCHAR(40) NOT NULL PRIMARY KEY)
CREATE CACHED TABLE PUBLIC.ORDERS(ID BIGINT GENERATED BY DEFAULT AS IDENTITY(START WITH 1)
  NOT NULL PRIMARY KEY,NAME VARCHAR(40),DOC CLOB(1G),CONSTRAINT FK1 FOREIGN KEY(NAME)
  REFERENCES PUBLIC.NAMES(NAME) ON DELETE CASCADE)
COMMENT ON TABLE PUBLIC.ORDERS IS 'all orders'
ALTER TABLE PUBLIC.ORDERS ALTER COLUMN ID RESTART WITH 5
GRANT DBA TO SA
SET SCHEMA PUBLIC
INSERT INTO NAMES VALUES('x')
""",
        ["PUBLIC.NAMES (NAME*)", "PUBLIC.ORDERS (ID*, NAME, DOC) 'all orders' NAME->PUBLIC.NAMES(NAME)"],
    ),
    (
        "sqlite3 .dump",
        """
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE IF NOT EXISTS "orders" (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL DEFAULT 'a;b' COLLATE NOCASE,
  untyped,
  cust_id INTEGER REFERENCES cust ON DELETE CASCADE,
  total REAL GENERATED ALWAYS AS (net * 1.19) VIRTUAL,
  net REAL
) STRICT;
INSERT INTO orders VALUES(1,'CREATE TABLE no (x int);',NULL,1,2.0);
CREATE TABLE lines(a, b, PRIMARY KEY(a, b), FOREIGN KEY(a) REFERENCES "orders"(id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS 'notes_data'(id INTEGER PRIMARY KEY, block BLOB);
DELETE FROM sqlite_sequence;
CREATE VIEW v(a,b) AS SELECT id, name FROM orders;
CREATE TRIGGER t AFTER INSERT ON orders BEGIN INSERT INTO lines VALUES (new.id, 1);
  UPDATE orders SET net = CASE WHEN 1 THEN 2 END; END;
CREATE INDEX i ON orders(name);
COMMIT;
""",
        [
            "orders (id*, name, untyped, cust_id, total, net) cust_id->cust()",
            "lines (a*, b*) a->orders(id)",
            "notes_data (id*, block)",
            "view v (a, b)",
        ],
    ),
    (
        "Rails structure.sql",
        """
SET check_function_bodies = false;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public;
COMMENT ON EXTENSION pgcrypto IS 'cryptographic functions';
CREATE TYPE public.state AS ENUM (
    'new',
    'paid'
);
CREATE TABLE public.orders (
    id bigint NOT NULL,
    state public.state DEFAULT 'new'::public.state NOT NULL,
    data jsonb DEFAULT '{}'::jsonb,
    created_at timestamp(6) without time zone NOT NULL
);
CREATE SEQUENCE public.orders_id_seq START WITH 1 INCREMENT BY 1 NO MINVALUE NO MAXVALUE CACHE 1;
ALTER TABLE ONLY public.orders ALTER COLUMN id SET DEFAULT nextval('public.orders_id_seq'::regclass);
ALTER TABLE ONLY public.orders ADD CONSTRAINT orders_pkey PRIMARY KEY (id);
CREATE INDEX index_orders_on_data ON public.orders USING gin (data) WHERE ((data ->> 'a'::text) IS NOT NULL);
ALTER TABLE ONLY public.orders ADD CONSTRAINT fk_rails_1 FOREIGN KEY (id) REFERENCES public.users(id);
SET search_path TO "$user", public;
INSERT INTO "schema_migrations" (version) VALUES
('20240101000000');
""",
        ["public.orders (id*, state, data, created_at) id->public.users(id)"],
    ),
    (
        "Alembic offline output",
        """
BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL, 
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 1a2b3c

CREATE TABLE orders (
    id SERIAL NOT NULL, 
    name VARCHAR(40), 
    customer_id INTEGER, 
    PRIMARY KEY (id), 
    FOREIGN KEY(customer_id) REFERENCES customers (id) ON DELETE CASCADE
);

COMMENT ON COLUMN orders.name IS 'as printed';

INSERT INTO alembic_version (version_num) VALUES ('1a2b3c') RETURNING alembic_version.version_num;

-- Running upgrade 1a2b3c -> 4d5e6f

ALTER TABLE orders ADD COLUMN note TEXT;

UPDATE alembic_version SET version_num='4d5e6f' WHERE alembic_version.version_num = '1a2b3c';

COMMIT;
""",
        [
            "alembic_version (version_num*)",
            "orders (id*, name 'as printed', customer_id, note) customer_id->customers(id)",
        ],
    ),
    (
        "DuckDB EXPORT DATABASE schema.sql",
        """
CREATE SCHEMA IF NOT EXISTS shop;
CREATE TYPE mood AS ENUM ( 'sad', 'ok' );
CREATE SEQUENCE shop.seq INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START 1 NO CYCLE;
CREATE TABLE shop.orders(id BIGINT DEFAULT(nextval('shop.seq')) PRIMARY KEY, "name" VARCHAR, m mood,
  tags VARCHAR[], s STRUCT(a INTEGER, b VARCHAR), u UNION(num INTEGER, str VARCHAR), mp MAP(VARCHAR, INTEGER),
  cust_id INTEGER, FOREIGN KEY (cust_id) REFERENCES shop.cust(id), CHECK((id > 0)));
CREATE VIEW shop.v AS SELECT id, "name" FROM shop.orders;
COMMENT ON TABLE shop.orders IS 'sold';
COMMENT ON COLUMN shop.orders.m IS 'feeling';
""",
        [
            "shop.orders (id*, name, m 'feeling', tags, s, u, mp, cust_id) 'sold' cust_id->shop.cust(id)",
            "view shop.v (id, name)",
        ],
    ),
    (
        "Netezza",
        """
CREATE TABLE ADMIN.ORDERS
(
	ORDER_ID BIGINT NOT NULL,
	NAME NATIONAL CHARACTER VARYING(40),
	AT TIMESTAMP,
	CONSTRAINT PK PRIMARY KEY (ORDER_ID)
)
DISTRIBUTE ON (ORDER_ID)
ORGANIZE ON (AT);
COMMENT ON TABLE ADMIN.ORDERS IS 'sold';
""",
        ["ADMIN.ORDERS (ORDER_ID*, NAME, AT) 'sold'"],
    ),
    (
        "Hibernate hbm2ddl create-drop",
        """
    alter table if exists orders 
       drop constraint if exists FKx;

    drop table if exists orders cascade;

    create sequence orders_seq start with 1 increment by 50;

    create table orders (
        total numeric(38,2),
        customer_id bigint,
        id bigint not null,
        state varchar(255) check (state in ('NEW','PAID')),
        primary key (id)
    );

    comment on column orders.state is 
        'where it is';

    alter table if exists orders 
       add constraint FKx 
       foreign key (customer_id) 
       references customers;
""",
        ["orders (total, customer_id, id*, state 'where it is') customer_id->customers()"],
    ),
    (
        "Hibernate without semicolons",
        """
create table orders (id bigint not null, name varchar(255), primary key (id)) engine=InnoDB
create table lines (id bigint not null, order_id bigint, primary key (id)) engine=InnoDB
alter table lines add constraint FKy foreign key (order_id) references orders (id)
""",
        ["orders (id*, name)", "lines (id*, order_id) order_id->orders(id)"],
    ),
    (
        "EF Core idempotent script",
        """
START TRANSACTION;
DO $EF$
BEGIN
    IF NOT EXISTS(SELECT 1 FROM "__EFMigrationsHistory" WHERE "MigrationId" = '1_init') THEN
    CREATE TABLE "Orders" (
        "Id" uuid NOT NULL,
        "Name" text,
        CONSTRAINT "PK_Orders" PRIMARY KEY ("Id")
    );
    END IF;
END $EF$;
CREATE TABLE "Plain" ("Id" int);
COMMIT;
""",
        ["Orders (Id*, Name)", "Plain (Id)"],
    ),
    (
        "Supabase dump with policies",
        """
CREATE TABLE IF NOT EXISTS "public"."todos" (
    "id" bigint NOT NULL,
    "user_id" "uuid" DEFAULT "auth"."uid"(),
    "task" "text" NOT NULL
);
ALTER TABLE "public"."todos" OWNER TO "postgres";
ALTER TABLE ONLY "public"."todos" FORCE ROW LEVEL SECURITY;
COMMENT ON TABLE "public"."todos" IS 'what to do';
ALTER TABLE ONLY "public"."todos"
    ADD CONSTRAINT "todos_pkey" PRIMARY KEY ("id");
CREATE POLICY "own" ON "public"."todos" FOR SELECT USING (("auth"."uid"() = "user_id"));
ALTER TABLE "public"."todos" ENABLE ROW LEVEL SECURITY;
GRANT ALL ON TABLE "public"."todos" TO "anon";
""",
        ["public.todos (id*, user_id, task) 'what to do'"],
    ),
    (
        "Access",
        """
CREATE TABLE [Orders] (
	[ID] COUNTER NOT NULL,
	[Name] TEXT(40),
	[Memo] MEMO,
	[Price] CURRENCY DEFAULT 0,
	[Paid] YESNO,
	CONSTRAINT [PrimaryKey] PRIMARY KEY ([ID])
);
ALTER TABLE [Orders] ADD CONSTRAINT [FK] FOREIGN KEY ([Name]) REFERENCES [Names] ([Name]);
""",
        ["Orders (ID*, Name, Memo, Price, Paid) Name->Names(Name)"],
    ),
    (
        "Cassandra DESCRIBE",
        """
CREATE TABLE shop.orders (
    id uuid,
    day date,
    tags set<text>,
    props map<text, frozen<list<int>>>,
    PRIMARY KEY ((id), day)
) WITH CLUSTERING ORDER BY (day DESC)
    AND comment = 'sold'
    AND gc_grace_seconds = 864000;
""",
        ["shop.orders (id*, day*, tags, props) 'sold'"],
    ),
    (
        "Athena",
        """
CREATE EXTERNAL TABLE IF NOT EXISTS `shop`.`orders` (
  `id` bigint COMMENT 'number',
  `props` struct<a:string,b:array<int>>
)
PARTITIONED BY (`day` string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')
STORED AS INPUTFORMAT 'org.apache.hadoop.mapred.TextInputFormat' OUTPUTFORMAT
  'org.apache.hadoop.hive.ql.io.IgnoreKeyTextOutputFormat'
LOCATION 's3://b/x/'
TBLPROPERTIES ('classification' = 'json', 'projection.enabled'='true');
""",
        ["shop.orders (id 'number', props, day)"],
    ),
    (
        "RisingWave",
        """
CREATE SOURCE clicks (id INT, url VARCHAR) WITH (connector = 'kafka', topic = 'x') FORMAT PLAIN ENCODE JSON;
CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR) APPEND ONLY;
CREATE MATERIALIZED VIEW mv AS SELECT id, count(*) AS n FROM clicks GROUP BY id;
CREATE SINK s FROM mv WITH (connector = 'blackhole');
""",
        ["t (id*, v)", "materialized view mv (id, n)"],
    ),
    (
        "TimescaleDB",
        """
CREATE TABLE metrics (
  at TIMESTAMPTZ NOT NULL,
  device TEXT,
  value DOUBLE PRECISION
) WITH (tsdb.hypertable, tsdb.partition_column='at');
SELECT create_hypertable('metrics', 'at');
CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS
SELECT time_bucket('1 hour', at) AS bucket, device, avg(value) AS mean FROM metrics GROUP BY 1, 2 WITH NO DATA;
SELECT add_retention_policy('metrics', INTERVAL '30 days');
""",
        ["metrics (at, device, value)", "materialized view hourly (bucket, device, mean)"],
    ),
    (
        "Oracle ALTER TABLE with several additions",
        """
create table t (a number(5));
alter table t add b number(5) add c varchar2(10);
alter table t add (d number references x(id), constraint pk primary key (a));
/
ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (c) REFERENCES y;
""",
        ["t (a*, b, c, d) d->x(id) c->y()"],
    ),
    (
        "foreign keys in columns",
        """
create table a (id int primary key);
create table b (id int, a_id int not null references a on delete cascade deferrable,
  x int references only_x(id) match full);
alter table b add column c int constraint fk references a(id), add column d int, add primary key (id);
""",
        ["a (id*)", "b (id*, a_id, x, c, d) a_id->a() x->only_x(id) c->a(id)"],
    ),
    (
        "comment on variants",
        r"""
create table s.t (a int, "B c" text);
comment on table s.t is 'it''s';
comment on column s.t."B c" is $$dollar 'x'$$;
comment on column s.t.a is null;
comment on view s.v is 'x';
create view s.v as select a from s.t;
comment on column s.v.a is E'esc\'d';
comment on materialized view s.m is 'mat';
""",
        ["s.t (a, B c 'dollar 'x'') 'it's'", "view s.v (a 'esc'd')"],
    ),
    (
        "comments on materialised views",
        """
create table t (a int);
create materialized view m as select a from t;
comment on materialized view m is 'mat';
comment on foreign table t is 'f';
""",
        ["t (a) 'f'", "materialized view m (a) 'mat'"],
    ),
    (
        "Azure Synapse",
        """
CREATE EXTERNAL TABLE dbo.ext (a int, b nvarchar(10)) WITH (LOCATION='/x', DATA_SOURCE = ds, FILE_FORMAT = ff);
CREATE TABLE dbo.d (a int) WITH (DISTRIBUTION = HASH(a), CLUSTERED COLUMNSTORE INDEX);
CREATE TABLE dbo.ctas WITH (DISTRIBUTION = ROUND_ROBIN) AS SELECT a, b AS bb FROM dbo.ext;
""",
        ["dbo.ext (a, b)", "dbo.d (a)", "dbo.ctas (a, bb)"],
    ),
    (
        "quoted names",
        """
create table "My Schema"."Tab""le" ("select" int primary key, "a.b" text, "ü" int, ключ int, 名前 text);
comment on column "My Schema"."Tab""le"."a.b" is 'dot';
alter table "My Schema"."Tab""le" add foreign key ("ü") references "Other T" ("x y");
""",
        ["My Schema.Tab\"le (select*, a.b 'dot', ü, ключ, 名前) ü->Other T(x y)"],
    ),
    (
        "no final semicolon",
        """
CREATE TABLE a (id int) -- done
""",
        ["a (id)"],
    ),
    (
        "comments in odd places",
        """
create table t(a int);
/* comment; with semicolon */ comment on table t is 'x' ;
COMMENT ON COLUMN "public"."t"."a" IS
'two
lines';
""",
        ["t (a 'two lines') 'x'"],
    ),
    (
        "PostgreSQL DO block with dynamic SQL",
        """
create table a(x int);
do $$
declare r record;
begin
  for r in select 1 loop
    execute format('create table %I (x int)', r);
  end loop;
end $$;
create table b(x int);
""",
        ["a (x)", "b (x)"],
    ),
    (
        "MySQL routines without DELIMITER",
        """
CREATE TABLE a (x int) ENGINE=InnoDB;
CREATE PROCEDURE p() BEGIN DECLARE i INT; IF i > 1 THEN SET i = 2; END IF; CREATE TABLE no (y int); END;
CREATE TABLE b (x int) ENGINE=InnoDB;
CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = 1;
CREATE TABLE c (x int) ENGINE=InnoDB;
CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1;
CREATE TABLE d (x int) ENGINE=InnoDB;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM a;
CREATE TABLE g (x int) ENGINE=InnoDB;
""",
        ["a (x)", "b (x)", "c (x)", "d (x)", "g (x)"],
    ),
    (
        "T-SQL routines",
        """
CREATE TABLE dbo.a (x int);
GO
CREATE PROCEDURE dbo.p AS
BEGIN
  CREATE TABLE #tmp (a int);
  SELECT CASE WHEN 1 = 1 THEN 2 END;
END
GO
CREATE TABLE dbo.b (x int);
go
CREATE OR ALTER VIEW dbo.v WITH SCHEMABINDING AS SELECT x FROM dbo.a;
GO
CREATE FUNCTION dbo.f() RETURNS @t TABLE (a int) AS BEGIN RETURN END
GO
CREATE TABLE dbo.c (x int)
""",
        ["dbo.a (x)", "dbo.b (x)", "view dbo.v (x)", "dbo.c (x)"],
    ),
]


def shown(table: Table) -> str:
    kind = "" if table.kind == "table" else f"{table.kind} "
    columns = ", ".join(shown_column(column) for column in table.columns)
    keys = [
        f"{', '.join(key.columns)}->{key.target_table}({', '.join(key.target_columns)})" for key in table.foreign_keys
    ]
    comment = [f"'{table.comment}'"] if table.comment else []
    return " ".join([f"{kind}{table.full_name} ({columns})", *comment, *keys])


def shown_column(column: Column) -> str:
    return column.name + "*" * column.is_primary_key + (f" '{column.comment}'" if column.comment else "")


@pytest.mark.parametrize(("script", "tables"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_script_of_a_dump_tool_is_read_in_full(script: str, tables: list[str]) -> None:
    parsed = parse_tables(script)

    assert [shown(table) for table in parsed.tables] == tables
    assert parsed.unparsed == ()


def test_windows_line_ends_change_nothing() -> None:
    script = "CREATE TABLE a (\r\n  id int, -- the id\r\n  b text\r\n);\r\nGO\r\nCOMMENT ON TABLE a IS 'x';\r\n"

    assert [shown(table) for table in parse_tables(script).tables] == ["a (id 'the id', b) 'x'"]
