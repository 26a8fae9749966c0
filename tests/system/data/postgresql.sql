CREATE TABLE public.jobs (
    job_id bigint NOT NULL,
    job_number character varying(255) NOT NULL,
    name_key character varying(255) NOT NULL,
    job_name character varying(255) NOT NULL,
    site_id bigint,
    status character varying(255) NOT NULL,
    progress character varying(255) NOT NULL,
    addr1 character varying(255) NOT NULL,
    addr2 character varying(255) NOT NULL,
    city character varying(255) NOT NULL,
    state character varying(255) NOT NULL,
    zip character varying(255) NOT NULL,
    active boolean NOT NULL,
    rule character varying(1000) NOT NULL,
    content_hash character varying(64) NOT NULL,
    observed_at timestamp without time zone NOT NULL,
    recorded_at timestamp without time zone NOT NULL,
    first_run_id bigint NOT NULL,
    seen_run_id bigint NOT NULL,
    complete_run_id bigint NOT NULL
);
CREATE TABLE public.links (
    job_id bigint NOT NULL,
    state character varying(16) NOT NULL,
    jobcode_id bigint,
    location_id bigint,
    held text,
    held_key character varying(255) NOT NULL,
    wanted_hash character varying(64) NOT NULL,
    pushed_hash character varying(64) NOT NULL,
    pushed_at timestamp without time zone,
    attempts integer NOT NULL,
    due_since timestamp without time zone,
    next_attempt_at timestamp without time zone,
    lease character varying(36),
    lease_until timestamp without time zone,
    intent character varying(20),
    intent_at timestamp without time zone,
    look character varying(10),
    error_code character varying(40),
    error_reason character varying(1000)
);
CREATE VIEW public.active_jobs AS
 SELECT j.job_id,
    j.job_number,
    j.job_name,
    j.site_id,
    j.status,
    j.progress,
    j.addr1,
    j.addr2,
    j.city,
    j.state,
    j.zip,
    j.rule,
    j.recorded_at,
    l.jobcode_id,
    l.location_id,
    l.state AS push_state,
    l.pushed_at
   FROM (public.jobs j
     LEFT JOIN public.links l ON ((l.job_id = j.job_id)))
  WHERE (j.active = true);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.call_slots (
    slot_id integer NOT NULL,
    used_at_ms bigint NOT NULL,
    uses bigint NOT NULL
);
CREATE TABLE public.events (
    event_id bigint NOT NULL,
    job_id bigint NOT NULL,
    at timestamp without time zone NOT NULL,
    kind character varying(20) NOT NULL,
    text character varying(1000) NOT NULL,
    run_id bigint
);
CREATE SEQUENCE public.events_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_event_id_seq OWNED BY public.events.event_id;
CREATE TABLE public.locks (
    name character varying(40) NOT NULL,
    holder character varying(36),
    until timestamp without time zone
);
CREATE TABLE public.plan_items (
    item_id bigint NOT NULL,
    run_id bigint NOT NULL,
    job_id bigint,
    job_number character varying(255) NOT NULL,
    jobcode_id bigint NOT NULL,
    name character varying(255) NOT NULL,
    reason character varying(1000) NOT NULL,
    state_before text NOT NULL,
    outcome character varying(20) NOT NULL,
    outcome_at timestamp without time zone,
    note character varying(1000)
);
CREATE SEQUENCE public.plan_items_item_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.plan_items_item_id_seq OWNED BY public.plan_items.item_id;
CREATE TABLE public.qbt_export (
    row_id bigint NOT NULL,
    run_id bigint NOT NULL,
    jobcode_id bigint,
    name character varying(255) NOT NULL,
    name_key character varying(255) NOT NULL,
    type character varying(40) NOT NULL,
    parent_id bigint,
    jobcode_active boolean,
    assigned_to_all boolean,
    has_children boolean,
    short_code character varying(255) NOT NULL,
    jobcode_modified_at timestamp without time zone,
    location_id bigint,
    addr1 character varying(255) NOT NULL,
    addr2 character varying(255) NOT NULL,
    city character varying(255) NOT NULL,
    state character varying(255) NOT NULL,
    zip character varying(255) NOT NULL,
    location_active boolean,
    location_modified_at timestamp without time zone
);
CREATE TABLE public.runs (
    run_id bigint NOT NULL,
    key character varying(64) NOT NULL,
    kind character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    complete boolean NOT NULL,
    requested_by character varying(40) NOT NULL,
    created_at timestamp without time zone NOT NULL,
    started_at timestamp without time zone,
    observed_at timestamp without time zone,
    touched_at timestamp without time zone,
    finished_at timestamp without time zone,
    since timestamp without time zone,
    emitted integer NOT NULL,
    recorded integer NOT NULL,
    skipped integer NOT NULL,
    calls integer NOT NULL,
    note character varying(1000),
    detail text
);
CREATE VIEW public.qbt_current AS
 SELECT e.row_id,
    e.run_id,
    e.jobcode_id,
    e.name,
    e.name_key,
    e.type,
    e.parent_id,
    e.jobcode_active,
    e.assigned_to_all,
    e.has_children,
    e.short_code,
    e.jobcode_modified_at,
    e.location_id,
    e.addr1,
    e.addr2,
    e.city,
    e.state,
    e.zip,
    e.location_active,
    e.location_modified_at
   FROM public.qbt_export e
  WHERE (e.run_id = ( SELECT max(r.run_id) AS max
           FROM public.runs r
          WHERE (((r.kind)::text = 'snapshot'::text) AND ((r.state)::text = 'done'::text))));
CREATE SEQUENCE public.qbt_export_row_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.qbt_export_row_id_seq OWNED BY public.qbt_export.row_id;
CREATE SEQUENCE public.runs_run_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.runs_run_id_seq OWNED BY public.runs.run_id;
CREATE TABLE public.state (
    name character varying(40) NOT NULL,
    value text,
    updated_at timestamp without time zone NOT NULL
);
ALTER TABLE ONLY public.events ALTER COLUMN event_id SET DEFAULT nextval('public.events_event_id_seq'::regclass);
ALTER TABLE ONLY public.plan_items ALTER COLUMN item_id SET DEFAULT nextval('public.plan_items_item_id_seq'::regclass);
ALTER TABLE ONLY public.qbt_export ALTER COLUMN row_id SET DEFAULT nextval('public.qbt_export_row_id_seq'::regclass);
ALTER TABLE ONLY public.runs ALTER COLUMN run_id SET DEFAULT nextval('public.runs_run_id_seq'::regclass);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.call_slots
    ADD CONSTRAINT pk_call_slots PRIMARY KEY (slot_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT pk_events PRIMARY KEY (event_id);
ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT pk_jobs PRIMARY KEY (job_id);
ALTER TABLE ONLY public.links
    ADD CONSTRAINT pk_links PRIMARY KEY (job_id);
ALTER TABLE ONLY public.locks
    ADD CONSTRAINT pk_locks PRIMARY KEY (name);
ALTER TABLE ONLY public.plan_items
    ADD CONSTRAINT pk_plan_items PRIMARY KEY (item_id);
ALTER TABLE ONLY public.qbt_export
    ADD CONSTRAINT pk_qbt_export PRIMARY KEY (row_id);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT pk_runs PRIMARY KEY (run_id);
ALTER TABLE ONLY public.state
    ADD CONSTRAINT pk_state PRIMARY KEY (name);
ALTER TABLE ONLY public.runs
    ADD CONSTRAINT uq_runs_key UNIQUE (key);
CREATE INDEX ix_events_at ON public.events USING btree (at);
CREATE INDEX ix_events_job_id ON public.events USING btree (job_id);
CREATE INDEX ix_jobs_active ON public.jobs USING btree (active);
CREATE INDEX ix_jobs_complete_run_id ON public.jobs USING btree (complete_run_id);
CREATE INDEX ix_jobs_name_key ON public.jobs USING btree (name_key);
CREATE INDEX ix_jobs_seen_run_id ON public.jobs USING btree (seen_run_id);
CREATE INDEX ix_links_held_key ON public.links USING btree (held_key);
CREATE INDEX ix_links_lease ON public.links USING btree (lease);
CREATE INDEX ix_links_state_next_attempt_at ON public.links USING btree (state, next_attempt_at);
CREATE INDEX ix_plan_items_run_id ON public.plan_items USING btree (run_id);
CREATE INDEX ix_qbt_export_run_id_jobcode_id ON public.qbt_export USING btree (run_id, jobcode_id);
CREATE INDEX ix_qbt_export_run_id_location_id ON public.qbt_export USING btree (run_id, location_id);
CREATE INDEX ix_qbt_export_run_id_name_key ON public.qbt_export USING btree (run_id, name_key);
CREATE INDEX ix_runs_kind_state ON public.runs USING btree (kind, state);
CREATE UNIQUE INDEX uq_links_jobcode_id ON public.links USING btree (jobcode_id);
CREATE UNIQUE INDEX uq_links_location_id ON public.links USING btree (location_id);
CREATE UNIQUE INDEX uq_plan_items_run_id_jobcode_id ON public.plan_items USING btree (run_id, jobcode_id);
