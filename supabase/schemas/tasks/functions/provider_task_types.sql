-- The task types that a claim of a provider may have: `types` at once, and `late_types` where a task has waited long enough.
-- FAL: what it can run; with the rule `missing`, what active own workers can run too only late. Nothing with `none`.
-- The sandbox: what it can run and FAL and own workers cannot, for its drawings are charged like real work. An owner's own
-- sandbox charges nothing, so it may have everything.
create or replace function public.provider_task_types(
  for_provider text, for_user uuid, rule text, out types text[], out late_types text[]
)
language plpgsql stable set search_path = '' as $$
declare
  settings public.queue_settings;
  own_types text[];
begin
  late_types := '{}';
  select array_agg(name) into types from public.task_types where alias_of is null and for_provider = any (runners);
  types := coalesce(types, '{}');
  if for_provider = 'fal' then
    if rule = 'none' then
      types := '{}';
    elsif rule = 'missing' then
      own_types := public.own_worker_types(for_user);
      late_types := array(select unnest(types) intersect select unnest(own_types));
      types := array(select unnest(types) except select unnest(own_types));
    end if;
  elsif for_user is null then
    select * into settings from public.queue_settings;
    own_types := public.own_worker_types(null, settings.sandbox_waits_for);
    types := array(
      select name from public.task_types
       where name = any (types) and name <> all (own_types)
         and not (settings.fal_is_configured and 'fal' = any (runners)));
  end if;
end
$$;
revoke all on function public.provider_task_types from public, anon, authenticated;
