-- Keeps the number of tasks that wait for a task.
create or replace function public.count_dependant()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if coalesce(new.is_waiting, false) <> coalesce(old.is_waiting, false) then
    perform public.add_to_limit_count('dependants', coalesce(new.dependency_id, old.dependency_id),
                                      case when new.is_waiting then 1 else -1 end);
  end if;
  return null;
end
$$;
revoke all on function public.count_dependant from public, anon, authenticated;
