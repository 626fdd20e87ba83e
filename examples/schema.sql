--
-- Schema of a mail-order company that has grown for fifteen years, as a dump shows it: three generations of names,
-- comments here and there, keys added at the end, and two legacy systems nobody dares to switch off.
-- Invented for Shortlist's examples; Apache-2.0 like the rest.
--
\set ON_ERROR_STOP on
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE SCHEMA sales;
CREATE SCHEMA billing;
CREATE SCHEMA logistics;
CREATE SCHEMA hr;
CREATE SCHEMA support;
CREATE SCHEMA web;
CREATE SCHEMA legacy;

CREATE TYPE sales.order_status AS ENUM ('draft', 'placed', 'paid', 'packed', 'shipped', 'delivered', 'cancelled', 'returned');
CREATE TYPE billing.invoice_state AS ENUM ('draft', 'open', 'paid', 'void', 'uncollectible');

-- ---------------------------------------------------------------- sales

CREATE TABLE sales.customers (
    customer_id     bigint GENERATED ALWAYS AS IDENTITY,
    kind            char(1) DEFAULT 'P' NOT NULL,          -- P person, C company
    first_name      varchar(80),
    last_name       varchar(80),
    company_name    varchar(160),
    display_name    text GENERATED ALWAYS AS (COALESCE(company_name, last_name)) STORED,
    email           text,
    phone           varchar(40),
    vat_id          varchar(20),
    language        char(2) DEFAULT 'en',
    credit_limit    numeric(12,2) DEFAULT 0,
    blocked         boolean DEFAULT false NOT NULL,        -- no new orders until dues are paid
    created_at      timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT customers_pkey PRIMARY KEY (customer_id),
    CONSTRAINT customers_kind_check CHECK (kind IN ('P', 'C'))
);
COMMENT ON TABLE sales.customers IS 'Everybody who ever bought something, persons and companies';
COMMENT ON COLUMN sales.customers.credit_limit IS 'How much may be bought on account, in EUR';

CREATE TABLE sales.customer_addresses (
    customer_id  bigint NOT NULL REFERENCES sales.customers (customer_id) ON DELETE CASCADE,
    address_no   smallint NOT NULL,
    purpose      text DEFAULT 'both' NOT NULL CHECK (purpose IN ('billing', 'shipping', 'both')),
    street       text NOT NULL,
    postal_code  varchar(12),
    city         text NOT NULL,
    country_code char(2) NOT NULL,
    valid_from   date,
    valid_to     date,
    PRIMARY KEY (customer_id, address_no)
);

CREATE TABLE sales.customer_consents (
    customer_id bigint NOT NULL,
    purpose     varchar(30) NOT NULL, -- newsletter, profiling, phone
    granted_at  timestamptz,
    revoked_at  timestamptz,
    source      text,
    PRIMARY KEY (customer_id, purpose)
);
COMMENT ON TABLE sales.customer_consents IS 'What a customer agreed to under data protection law, and when it was taken back';

CREATE TABLE sales.product_categories (
    category_id serial PRIMARY KEY,
    parent_id   integer REFERENCES sales.product_categories,
    name        text NOT NULL,
    slug        text UNIQUE
);

CREATE TABLE sales.products (
    sku          varchar(32) NOT NULL PRIMARY KEY,
    name         text NOT NULL,
    descr        text,
    category_id  integer,
    ean          char(13),
    weight_g     integer,           -- gross, with packaging
    hazard_class varchar(8),
    tax_class    smallint DEFAULT 1,
    active       boolean DEFAULT true,
    attributes   jsonb DEFAULT '{}'::jsonb NOT NULL
);
COMMENT ON TABLE sales.products IS 'Article master: what we sell';
COMMENT ON COLUMN sales.products.ean IS 'Barcode number';

CREATE TABLE sales.price_lists (
    price_list_id integer PRIMARY KEY,
    name          text NOT NULL,
    currency      char(3) NOT NULL,
    valid_during  daterange
);

CREATE TABLE sales.prices (
    price_list_id integer NOT NULL,
    sku           varchar(32) NOT NULL,
    min_qty       integer DEFAULT 1 NOT NULL,   -- price breaks
    unit_price    numeric(12,4) NOT NULL,
    CONSTRAINT prices_pk PRIMARY KEY (price_list_id, sku, min_qty)
);

CREATE TABLE sales.orders (
    order_id        bigint NOT NULL,
    order_no        varchar(20) NOT NULL,
    customer_id     bigint NOT NULL,
    status          sales.order_status DEFAULT 'draft' NOT NULL,
    channel         varchar(12) DEFAULT 'web',   -- web, phone, fax (!), market
    placed_at       timestamp with time zone,
    currency        char(3) DEFAULT 'EUR' NOT NULL,
    net_total       numeric(14,2),
    tax_total       numeric(14,2),
    gross_total     numeric(14,2) GENERATED ALWAYS AS (net_total + tax_total) STORED,
    coupon_code     varchar(24),
    sales_rep_id    integer,
    ship_to_no      smallint,
    remarks         text
);
COMMENT ON TABLE sales.orders IS 'Current customer orders; those delivered more than 24 months ago move to sales.order_archive';

CREATE TABLE sales.order_lines (
    order_id    bigint NOT NULL,
    line_no     integer NOT NULL,
    sku         varchar(32) NOT NULL,
    quantity    numeric(10,2) NOT NULL,
    unit_price  numeric(12,4) NOT NULL,
    discount_pc numeric(5,2) DEFAULT 0,
    line_total  numeric(14,2) GENERATED ALWAYS AS (quantity * unit_price * (1 - discount_pc / 100)) STORED
);
COMMENT ON TABLE sales.order_lines IS 'Articles and quantities of an order';

-- same columns as orders once had, no keys on purpose
CREATE TABLE sales.order_archive (
    order_id    bigint,
    order_no    varchar(20),
    customer_id bigint,
    status      text,
    placed_at   timestamp,
    total       numeric(14,2),
    payload     jsonb,
    archived_on date DEFAULT CURRENT_DATE
);

CREATE TABLE sales.coupons (
    code        varchar(24) PRIMARY KEY,
    percent_off numeric(5,2),
    amount_off  numeric(10,2),
    starts_on   date,
    ends_on     date,
    max_uses    integer,
    used        integer DEFAULT 0 NOT NULL
);

CREATE TABLE sales.quotes (
    quote_id    bigserial PRIMARY KEY,
    customer_id bigint REFERENCES sales.customers,
    valid_until date,
    total       numeric(14,2),
    won_order   bigint,  -- the order it became
    owner       integer
);

-- ---------------------------------------------------------------- billing

CREATE TABLE billing.invoices (
    invoice_id   bigint NOT NULL,
    invoice_no   varchar(20) NOT NULL,
    customer_id  bigint NOT NULL,
    order_id     bigint,
    state        billing.invoice_state DEFAULT 'draft'::billing.invoice_state NOT NULL,
    issued_on    date,
    due_on       date,
    amount_due   numeric(14,2) NOT NULL,
    amount_paid  numeric(14,2) DEFAULT 0 NOT NULL,
    dunning_level smallint DEFAULT 0 NOT NULL
);
COMMENT ON TABLE billing.invoices IS 'Invoices to customers';
COMMENT ON COLUMN billing.invoices.due_on IS 'Last day of the payment term; later than that the invoice is overdue';
COMMENT ON COLUMN billing.invoices.dunning_level IS '0 none, 1 friendly reminder, 2 second reminder, 3 handed to collection';

CREATE TABLE billing.invoice_items (
    invoice_id bigint NOT NULL,
    pos        integer NOT NULL,
    text       text,
    net        numeric(14,2),
    vat_rate   numeric(4,2),
    PRIMARY KEY (invoice_id, pos)
);

CREATE TABLE billing.payments (
    payment_id  uuid DEFAULT gen_random_uuid() PRIMARY KEY,
    customer_id bigint NOT NULL,
    method      varchar(16) NOT NULL, -- card, sepa, paypal, cash on delivery
    amount      numeric(14,2) NOT NULL,
    received_at timestamptz NOT NULL,
    psp_ref     text
);
COMMENT ON TABLE billing.payments IS 'Money that came in';

CREATE TABLE billing.payment_allocations (
    payment_id uuid NOT NULL REFERENCES billing.payments,
    invoice_id bigint NOT NULL,
    amount     numeric(14,2) NOT NULL,
    PRIMARY KEY (payment_id, invoice_id)
);
COMMENT ON TABLE billing.payment_allocations IS 'Which payment settles which invoice, wholly or in part';

CREATE TABLE billing.refunds (
    refund_id  bigserial PRIMARY KEY,
    payment_id uuid,
    rma_id     bigint,
    amount     numeric(14,2),
    reason     text,
    paid_out_at timestamptz
);

CREATE TABLE billing.dunning_runs (
    run_id     serial PRIMARY KEY,
    run_on     date NOT NULL,
    level      smallint NOT NULL,
    letters    integer,
    started_by integer
);

CREATE TABLE billing.ledger_entries (
    entry_id   bigint PRIMARY KEY,
    booked_on  date NOT NULL,
    acct_dr    varchar(10) NOT NULL,   -- debit account
    acct_cr    varchar(10) NOT NULL,   -- credit account
    amt        numeric(16,2) NOT NULL,
    doc_ref    varchar(40),
    cost_ctr   varchar(10)
) PARTITION BY RANGE (booked_on);

CREATE TABLE billing.tax_rates (
    country_code char(2),
    tax_class    smallint,
    valid_from   date,
    rate         numeric(5,2) NOT NULL,
    PRIMARY KEY (country_code, tax_class, valid_from)
);

-- ---------------------------------------------------------------- logistics

CREATE TABLE logistics.warehouses (
    wh_code  varchar(6) PRIMARY KEY,
    name     text,
    city     text,
    country  char(2),
    lat      double precision,
    lon      double precision
);

CREATE TABLE logistics.bins (
    wh_code varchar(6) NOT NULL,
    aisle   varchar(4) NOT NULL,
    rack    smallint NOT NULL,
    level   smallint NOT NULL,
    max_kg  integer,
    PRIMARY KEY (wh_code, aisle, rack, level)
);
COMMENT ON TABLE logistics.bins IS 'Storage locations inside a warehouse';

CREATE TABLE logistics.stock_levels (
    wh_code       varchar(6) NOT NULL,
    sku           varchar(32) NOT NULL,
    on_hand       numeric(12,2) DEFAULT 0 NOT NULL,
    reserved      numeric(12,2) DEFAULT 0 NOT NULL,
    available     numeric(12,2) GENERATED ALWAYS AS (on_hand - reserved) STORED,
    reorder_point numeric(12,2),
    counted_on    date,
    PRIMARY KEY (wh_code, sku)
);
COMMENT ON COLUMN logistics.stock_levels.reorder_point IS 'Minimum stock; below it a purchase order is proposed';

CREATE TABLE logistics.stock_movements (
    movement_id bigserial PRIMARY KEY,
    wh_code     varchar(6) NOT NULL,
    sku         varchar(32) NOT NULL,
    qty         numeric(12,2) NOT NULL,  -- negative: out
    mv_type     char(3) NOT NULL,        -- REC goods in, SHP goods out, ADJ correction, TRF transfer
    ref_doc     varchar(40),
    moved_at    timestamptz DEFAULT now()
);

CREATE TABLE logistics.carriers (
    carrier_id smallint PRIMARY KEY,
    name       text NOT NULL,
    tracking_url_template text
);

CREATE TABLE logistics.shipments (
    shipment_id  bigserial,
    order_id     bigint NOT NULL,
    wh_code      varchar(6),
    carrier_id   smallint,
    shipped_at   timestamptz,
    promised_on  date,
    delivered_at timestamptz,
    PRIMARY KEY (shipment_id)
);
COMMENT ON TABLE logistics.shipments IS 'Deliveries on their way to customers; late when delivered_at is after promised_on';

CREATE TABLE logistics.parcels (
    shipment_id bigint,
    parcel_no   smallint,
    tracking_no varchar(40) UNIQUE,
    weight_g    integer,
    last_scan   text,
    PRIMARY KEY (shipment_id, parcel_no)
);

CREATE TABLE logistics.suppliers (
    supplier_id  integer PRIMARY KEY,
    name         text NOT NULL,
    lead_days    smallint,     -- from order to our dock
    payment_term varchar(20),
    rating       numeric(2,1) CHECK (rating BETWEEN 1 AND 5)
);

CREATE TABLE logistics.purchase_orders (
    po_id       bigint PRIMARY KEY,
    supplier_id integer REFERENCES logistics.suppliers (supplier_id),
    ordered_on  date,
    expected_on date,
    status      varchar(12)
);

CREATE TABLE logistics.purchase_order_lines (
    po_id    bigint NOT NULL REFERENCES logistics.purchase_orders,
    line_no  integer NOT NULL,
    sku      varchar(32),
    qty      numeric(12,2),
    received numeric(12,2) DEFAULT 0,
    cost     numeric(12,4),
    PRIMARY KEY (po_id, line_no)
);

CREATE TABLE logistics."returns" (
    rma_id     bigserial PRIMARY KEY,
    order_id   bigint,
    line_no    integer,
    qty        numeric(10,2),
    "condition" text,                       -- unopened, used, broken
    reason     varchar(30),
    arrived_at timestamptz
);
COMMENT ON TABLE logistics."returns" IS 'Goods customers sent back';

-- ---------------------------------------------------------------- hr

CREATE TABLE hr.departments (
    dept_id   integer PRIMARY KEY,
    name      text NOT NULL,
    parent_id integer,
    head_id   integer,
    cost_ctr  varchar(10)
);

CREATE TABLE hr.employees (
    emp_id        integer PRIMARY KEY,
    given_name    text NOT NULL,
    surname       text NOT NULL,
    work_email    text UNIQUE,
    dept_id       integer,
    manager_id    integer,
    job_title     text,
    hired_on      date NOT NULL,
    left_on       date,
    weekly_hours  numeric(4,2) DEFAULT 38.5
);
COMMENT ON TABLE hr.employees IS 'Staff, present and former';
COMMENT ON COLUMN hr.employees.left_on IS 'Last day of employment, null while employed';

CREATE TABLE hr.salaries (
    emp_id     integer NOT NULL,
    valid_from date NOT NULL,
    monthly    numeric(10,2) NOT NULL,
    grade      varchar(4),
    CONSTRAINT salaries_pk PRIMARY KEY (emp_id, valid_from)
);

CREATE TABLE hr.leave_entitlements (
    emp_id       integer,
    year         smallint,
    days_granted numeric(4,1),
    days_carried numeric(4,1) DEFAULT 0,  -- from the year before
    PRIMARY KEY (emp_id, year)
);

CREATE TABLE hr.absences (
    absence_id bigserial PRIMARY KEY,
    emp_id     integer NOT NULL,
    kind       varchar(12) NOT NULL CHECK (kind IN ('vacation', 'sick', 'parental', 'unpaid', 'training')),
    first_day  date NOT NULL,
    last_day   date NOT NULL,
    work_days  numeric(4,1),
    approved_by integer,
    approved_at timestamptz
);
COMMENT ON TABLE hr.absences IS 'Vacation, sick leave and other days off';

CREATE TABLE hr.time_clock (
    emp_id integer NOT NULL,
    ts     timestamptz NOT NULL,
    ev     char(1) NOT NULL,  -- I in, O out, B break
    PRIMARY KEY (emp_id, ts)
);

CREATE TABLE hr.applicants (
    applicant_id bigserial PRIMARY KEY,
    position     text,
    applied_on   date,
    stage        text,
    rejected_on  date,
    delete_after date  /* privacy law: six months */
);

-- ---------------------------------------------------------------- support

CREATE TABLE support.tickets (
    ticket_id    bigint PRIMARY KEY,
    customer_id  bigint,
    order_id     bigint,
    subject      text,
    channel      text,          -- mail, phone, chat, form
    priority     smallint DEFAULT 3,
    status       text DEFAULT 'new',
    assignee_id  integer,
    opened_at    timestamptz DEFAULT now(),
    first_reply_at timestamptz,
    closed_at    timestamptz
);

CREATE TABLE support.ticket_messages (
    ticket_id bigint NOT NULL,
    seq       integer NOT NULL,
    author    text,
    is_internal boolean DEFAULT false,
    body      text,
    sent_at   timestamptz,
    PRIMARY KEY (ticket_id, seq)
);

CREATE TABLE support.satisfaction (
    ticket_id bigint PRIMARY KEY,
    stars     smallint CHECK (stars BETWEEN 1 AND 5),
    comment   text,
    answered_at timestamptz
);
COMMENT ON TABLE support.satisfaction IS 'What customers answered when asked how content they were';

CREATE TABLE support.sla_policies (
    priority          smallint PRIMARY KEY,
    first_reply_hours integer,
    solve_hours       integer
);

CREATE TABLE support.kb_articles (
    article_id integer PRIMARY KEY,
    title text, body text, lang char(2), helpful integer, unhelpful integer, updated_at timestamptz
);

-- ---------------------------------------------------------------- web

CREATE TABLE web.sessions (
    sid         uuid PRIMARY KEY,
    visitor_id  uuid NOT NULL,
    customer_id bigint,        -- null until somebody logs in
    started_at  timestamptz,
    landing     text,
    referrer    text,
    utm_source  text,
    utm_campaign text,
    device      varchar(10),
    country     char(2)
);

CREATE TABLE web.page_views (
    sid  uuid,
    n    integer,
    path text,
    ms   integer,   -- time on page
    at   timestamptz,
    PRIMARY KEY (sid, n)
);

CREATE TABLE web.events (
    event_id bigint PRIMARY KEY,
    sid      uuid,
    name     text NOT NULL,   -- add_to_cart, checkout_started, search, ...
    props    jsonb,
    at       timestamptz
);
COMMENT ON TABLE web.events IS 'Everything visitors do in the shop besides viewing pages';

CREATE TABLE web.carts (
    cart_id    uuid PRIMARY KEY,
    sid        uuid,
    sku        varchar(32)[],
    abandoned  boolean,
    updated_at timestamptz
);

CREATE TABLE web.users (
    login       text PRIMARY KEY,
    pw_hash     text NOT NULL,
    customer_id bigint,
    last_login  timestamptz,
    failed      smallint DEFAULT 0
);
COMMENT ON TABLE web.users IS 'Shop logins. Not employees.';

CREATE TABLE web.product_reviews (
    sku text, login text, stars smallint, review text, written_at timestamptz, visible boolean,
    PRIMARY KEY (sku, login)
);

-- ---------------------------------------------------------------- legacy (host system, nightly copy; names as on the host)

CREATE TABLE legacy.tbl_kd_adr (
    kd_nr   integer NOT NULL,
    adr_art char(1) NOT NULL,     -- R Rechnung, L Lieferung
    anrede  varchar(10),
    nam1    varchar(35),
    nam2    varchar(35),
    str     varchar(35),
    plz     varchar(8),
    ort     varchar(35),
    lkz     char(3),
    PRIMARY KEY (kd_nr, adr_art)
);
COMMENT ON TABLE legacy.tbl_kd_adr IS 'Kundenadressen aus dem Altsystem';

CREATE TABLE legacy."ORDHDR" (
    "ORDNR" numeric(9) NOT NULL,
    "KDNR"  numeric(7),
    "ORDDAT" char(8),             -- YYYYMMDD
    "STAT"  char(2),
    "BETRAG" numeric(11,2),
    CONSTRAINT "ORDHDR_PK" PRIMARY KEY ("ORDNR")
);

CREATE TABLE legacy."ORDPOS" (
    "ORDNR" numeric(9) NOT NULL,
    "POSNR" numeric(3) NOT NULL,
    "ARTNR" char(10),
    "MNG"   numeric(7,2),
    "EPR"   numeric(9,2),
    PRIMARY KEY ("ORDNR", "POSNR")
);

CREATE TABLE legacy.art_stamm (
    artnr char(10) PRIMARY KEY,
    bez1 varchar(30), bez2 varchar(30), wgr smallint, ek numeric(9,2), vk numeric(9,2), sperr_kz char(1)
);

CREATE TABLE legacy.x_tmp_2019 (
    a text,
    b text,
    c numeric
);

-- no schema: made by somebody in a hurry
CREATE TABLE orders (
    id   serial PRIMARY KEY,
    data json
);

-- ---------------------------------------------------------------- views

CREATE VIEW billing.v_overdue_invoices AS
SELECT i.invoice_id, i.invoice_no, i.customer_id, i.due_on,
       i.amount_due - i.amount_paid AS open_amount,
       CURRENT_DATE - i.due_on AS days_late
FROM billing.invoices AS i
WHERE i.state = 'open' AND i.due_on < CURRENT_DATE;

CREATE OR REPLACE VIEW hr.v_active_employees AS
SELECT e.emp_id, e.given_name, e.surname, d.name AS department
FROM hr.employees AS e
LEFT JOIN hr.departments AS d ON d.dept_id = e.dept_id
WHERE e.left_on IS NULL OR e.left_on > CURRENT_DATE;

CREATE MATERIALIZED VIEW sales.mv_monthly_revenue AS
SELECT date_trunc('month', o.placed_at) AS month, p.category_id, sum(l.line_total) AS revenue
FROM sales.orders AS o
JOIN sales.order_lines AS l ON l.order_id = o.order_id
JOIN sales.products AS p ON p.sku = l.sku
WHERE o.status NOT IN ('draft', 'cancelled')
GROUP BY 1, 2;
COMMENT ON MATERIALIZED VIEW sales.mv_monthly_revenue IS 'Turnover a month and product category, refreshed every night';

-- ---------------------------------------------------------------- keys

ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (order_id);
ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_order_no_key UNIQUE (order_no);
ALTER TABLE ONLY sales.order_lines
    ADD CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, line_no);
ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_pkey PRIMARY KEY (invoice_id);

ALTER TABLE ONLY sales.customer_consents
    ADD CONSTRAINT consents_customer_fk FOREIGN KEY (customer_id) REFERENCES sales.customers(customer_id) ON DELETE CASCADE;
ALTER TABLE ONLY sales.products
    ADD CONSTRAINT products_category_fk FOREIGN KEY (category_id) REFERENCES sales.product_categories(category_id);
ALTER TABLE ONLY sales.prices
    ADD CONSTRAINT prices_list_fk FOREIGN KEY (price_list_id) REFERENCES sales.price_lists(price_list_id);
ALTER TABLE ONLY sales.prices
    ADD CONSTRAINT prices_sku_fk FOREIGN KEY (sku) REFERENCES sales.products(sku);
ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES sales.customers(customer_id);
ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_ship_to_fk FOREIGN KEY (customer_id, ship_to_no) REFERENCES sales.customer_addresses(customer_id, address_no);
ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_coupon_fk FOREIGN KEY (coupon_code) REFERENCES sales.coupons(code);
ALTER TABLE ONLY sales.orders
    ADD CONSTRAINT orders_rep_fk FOREIGN KEY (sales_rep_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY sales.order_lines
    ADD CONSTRAINT order_lines_order_fk FOREIGN KEY (order_id) REFERENCES sales.orders(order_id) ON DELETE CASCADE;
ALTER TABLE ONLY sales.order_lines
    ADD CONSTRAINT order_lines_sku_fk FOREIGN KEY (sku) REFERENCES sales.products(sku);
ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_customer_fk FOREIGN KEY (customer_id) REFERENCES sales.customers(customer_id);
ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_order_fk FOREIGN KEY (order_id) REFERENCES sales.orders(order_id);
ALTER TABLE ONLY billing.invoice_items
    ADD CONSTRAINT invoice_items_fk FOREIGN KEY (invoice_id) REFERENCES billing.invoices(invoice_id);
ALTER TABLE ONLY billing.payments
    ADD CONSTRAINT payments_customer_fk FOREIGN KEY (customer_id) REFERENCES sales.customers(customer_id);
ALTER TABLE ONLY billing.payment_allocations
    ADD CONSTRAINT allocations_invoice_fk FOREIGN KEY (invoice_id) REFERENCES billing.invoices(invoice_id);
ALTER TABLE ONLY billing.refunds
    ADD CONSTRAINT refunds_payment_fk FOREIGN KEY (payment_id) REFERENCES billing.payments(payment_id);
ALTER TABLE ONLY billing.refunds
    ADD CONSTRAINT refunds_rma_fk FOREIGN KEY (rma_id) REFERENCES logistics."returns"(rma_id);
ALTER TABLE ONLY logistics.bins
    ADD CONSTRAINT bins_wh_fk FOREIGN KEY (wh_code) REFERENCES logistics.warehouses(wh_code);
ALTER TABLE ONLY logistics.stock_levels
    ADD CONSTRAINT stock_wh_fk FOREIGN KEY (wh_code) REFERENCES logistics.warehouses(wh_code);
ALTER TABLE ONLY logistics.stock_levels
    ADD CONSTRAINT stock_sku_fk FOREIGN KEY (sku) REFERENCES sales.products(sku);
ALTER TABLE ONLY logistics.shipments
    ADD CONSTRAINT shipments_order_fk FOREIGN KEY (order_id) REFERENCES sales.orders(order_id);
ALTER TABLE ONLY logistics.shipments
    ADD CONSTRAINT shipments_carrier_fk FOREIGN KEY (carrier_id) REFERENCES logistics.carriers(carrier_id);
ALTER TABLE ONLY logistics.parcels
    ADD CONSTRAINT parcels_shipment_fk FOREIGN KEY (shipment_id) REFERENCES logistics.shipments(shipment_id);
ALTER TABLE ONLY logistics."returns"
    ADD CONSTRAINT returns_line_fk FOREIGN KEY (order_id, line_no) REFERENCES sales.order_lines(order_id, line_no);
ALTER TABLE ONLY hr.employees
    ADD CONSTRAINT employees_dept_fk FOREIGN KEY (dept_id) REFERENCES hr.departments(dept_id);
ALTER TABLE ONLY hr.employees
    ADD CONSTRAINT employees_manager_fk FOREIGN KEY (manager_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY hr.departments
    ADD CONSTRAINT departments_head_fk FOREIGN KEY (head_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY hr.salaries
    ADD CONSTRAINT salaries_emp_fk FOREIGN KEY (emp_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY hr.leave_entitlements
    ADD CONSTRAINT entitlements_emp_fk FOREIGN KEY (emp_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY hr.absences
    ADD CONSTRAINT absences_emp_fk FOREIGN KEY (emp_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY support.tickets
    ADD CONSTRAINT tickets_customer_fk FOREIGN KEY (customer_id) REFERENCES sales.customers(customer_id);
ALTER TABLE ONLY support.tickets
    ADD CONSTRAINT tickets_assignee_fk FOREIGN KEY (assignee_id) REFERENCES hr.employees(emp_id);
ALTER TABLE ONLY support.ticket_messages
    ADD CONSTRAINT messages_ticket_fk FOREIGN KEY (ticket_id) REFERENCES support.tickets(ticket_id);
ALTER TABLE ONLY support.satisfaction
    ADD CONSTRAINT satisfaction_ticket_fk FOREIGN KEY (ticket_id) REFERENCES support.tickets(ticket_id);
ALTER TABLE ONLY web.page_views
    ADD CONSTRAINT page_views_sid_fk FOREIGN KEY (sid) REFERENCES web.sessions(sid);
ALTER TABLE ONLY web.users
    ADD CONSTRAINT users_customer_fk FOREIGN KEY (customer_id) REFERENCES sales.customers(customer_id);
ALTER TABLE ONLY legacy."ORDPOS"
    ADD CONSTRAINT "ORDPOS_FK" FOREIGN KEY ("ORDNR") REFERENCES legacy."ORDHDR"("ORDNR");

CREATE UNIQUE INDEX customers_email_key ON sales.customers USING btree (lower(email));
CREATE INDEX orders_customer_placed_idx ON sales.orders USING btree (customer_id, placed_at DESC);
CREATE INDEX orders_open_idx ON sales.orders (placed_at) WHERE status <> 'delivered';
CREATE INDEX invoices_due_idx ON billing.invoices (due_on);
CREATE INDEX events_props_idx ON web.events USING gin (props);
CREATE INDEX movements_sku_idx ON logistics.stock_movements (sku, moved_at);

COMMENT ON COLUMN legacy."ORDHDR"."STAT" IS '10 new, 20 confirmed, 80 delivered, 99 cancelled';
COMMENT ON COLUMN legacy.art_stamm.wgr IS 'product group';

\echo done
