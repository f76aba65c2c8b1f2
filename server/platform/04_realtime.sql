-- The part of Supabase's `realtime` schema that triggers and policies use. Our own /realtime/v1 delivers
-- what is inserted here from the write-ahead log, once it is committed.
create schema if not exists realtime;
grant usage on schema realtime to anon, authenticated, service_role;

create table if not exists realtime.messages (
  id uuid primary key default gen_random_uuid(),
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default (now() at time zone 'utc'),
  inserted_at timestamp not null default (now() at time zone 'utc')
);
-- Old messages are deleted by age.
create index if not exists messages_inserted_at_idx on realtime.messages (inserted_at);

-- Policies decide: may select = may listen to the topic, may insert = may send to it.
alter table realtime.messages enable row level security;
grant select, insert on realtime.messages to anon, authenticated, service_role;

create or replace function realtime.topic() returns text
language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')
$$;

create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true)
returns void
language plpgsql as $$
declare
  message_id constant uuid := gen_random_uuid();
begin
  -- As Supabase: listeners can tell a message that reaches them twice by the id in its payload.
  if jsonb_typeof(payload) = 'object' and not payload ? 'id' then
    payload := payload || jsonb_build_object('id', message_id);
  end if;
  insert into realtime.messages (id, payload, event, topic, private, extension)
  -- What policies for senders look at; it answers the topic.
  values (message_id, send.payload, send.event, set_config('realtime.topic', send.topic, true), send.private,
          'broadcast');
end
$$;

create or replace function realtime.broadcast_changes(
  topic_name text, event_name text, operation text, table_name text, table_schema text,
  new record, old record, level text default 'ROW'
) returns void
language plpgsql as $$
begin
  if level = 'STATEMENT' then
    raise exception 'function can only be triggered for each row, not for each statement';
  end if;
  if operation not in ('INSERT', 'UPDATE', 'DELETE') then
    raise exception 'Unexpected operation type: %', operation;
  end if;
  perform realtime.send(
    jsonb_build_object(
      'old_record', old, 'record', new, 'operation', operation, 'table', table_name, 'schema', table_schema
    ),
    event_name, topic_name
  );
end
$$;

do $$
begin
  -- Migrations add the tables whose changes clients may follow.
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  if not exists (select from pg_catalog.pg_publication where pubname = 'supabase_realtime_messages') then
    create publication supabase_realtime_messages for table realtime.messages with (publish = 'insert');
  end if;
end
$$;
