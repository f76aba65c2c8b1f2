-- Writes lines of log, `[{timestamp, level, message, …}]` as text, and never fails for what they hold: odd values
-- are brought into shape, long ones cut, what is no line or beyond `at_most` is dropped and counted.
-- With `of_worker` all of them are that worker's; without, they say themselves whose they are.
-- A worker of somebody's own (`of_owner`) writes about 2,000 lines an hour with all its owner's others, and names
-- its owner's tasks only.
create or replace function public.write_logs(
  lines text, at_most integer, of_worker text, of_owner uuid, out inserted integer, out dropped integer
)
language plpgsql set search_path = '' as $$
declare
  entries constant jsonb := public.readable_log_lines(lines);
begin
  inserted := 0;
  dropped := 0;
  if lines is null or lines in ('null', '[]') then
    return;
  end if;
  if entries is null then
    dropped := 1;
    return;
  end if;
  if of_owner is not null then
    at_most := least(at_most, 2000 - (
      select count(*) from (select from public.system_logs
                             where user_id = of_owner and received_at > now() - interval '1 hour'
                             limit 2000) as recent));
  end if;

  insert into public.system_logs (
    timestamp, source_type, source_id, log_level, message, task_id, worker_id, user_id, cycle_number, metadata)
  select case when said.at between now() - interval '30 days' and now() + interval '1 hour' then said.at else now() end,
         case when of_worker is not null then 'worker'
              else left(coalesce(nullif(entry.line ->> 'source_type', ''), 'unknown'), 50) end,
         coalesce(of_worker, left(entry.line ->> 'source_id', 240)),
         case
           when said.level in ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL') then said.level
           when said.level in ('TRACE', 'VERBOSE') then 'DEBUG'
           when said.level = 'WARN' then 'WARNING'
           when said.level in ('FATAL', 'EXCEPTION') then 'CRITICAL'
           else 'INFO' end,
         left(entry.line ->> 'message', 4000),
         case when of_owner is null or exists (
           select from public.tasks where id = said.task_id and user_id = of_owner) then said.task_id end,
         coalesce(of_worker, left(entry.line ->> 'worker_id', 240)),
         of_owner,
         case when jsonb_typeof(entry.line -> 'cycle_number') = 'number'
               and (entry.line ->> 'cycle_number')::numeric between 0 and 2147483647
           then trunc((entry.line ->> 'cycle_number')::numeric)::integer end,
         case
           when jsonb_typeof(entry.line -> 'metadata') is distinct from 'object' then '{}'
           when octet_length((entry.line -> 'metadata')::text) > 8192 then '{"truncated": true}'
           else entry.line -> 'metadata' end
    from jsonb_array_elements(entries) with ordinality as entry (line, position),
         lateral (select
           public.timestamp_or_null(entry.line ->> 'timestamp') as at,
           upper(left(coalesce(entry.line ->> 'level', entry.line ->> 'log_level', ''), 20)) as level,
           case when entry.line ->> 'task_id' ~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$'
             then (entry.line ->> 'task_id')::uuid end as task_id) as said
   where entry.position <= at_most and jsonb_typeof(entry.line) = 'object'
     and coalesce(entry.line ->> 'message', '') <> ''
   order by entry.position;
  get diagnostics inserted = row_count;
  dropped := jsonb_array_length(entries) - inserted;
end
$$;
revoke all on function public.write_logs from public, anon, authenticated;
