-- Moves a task from the count of its old state to that of its new one.
create or replace function public.count_task()
returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  was text := case when tg_op <> 'INSERT' then public.count_of_state(old.status, old.unmet_dependencies, old.is_scheduled) end;
  is_now text := case when tg_op <> 'DELETE' then public.count_of_state(new.status, new.unmet_dependencies, new.is_scheduled) end;
begin
  if tg_op = 'UPDATE' and old.lane_id <> new.lane_id then
    perform public.add_to_count(old.lane_id, was, null);
    perform public.add_to_count(new.lane_id, null, is_now);
  elsif was is distinct from is_now then
    perform public.add_to_count(case when tg_op = 'DELETE' then old.lane_id else new.lane_id end, was, is_now);
  end if;
  return null;
end
$$;
revoke all on function public.count_task from public, anon, authenticated;
