-- Gives a running task's slot back and opens what waited for it. The caller has ended the task's run.
create or replace function public.free_slot(for_user uuid, for_slot smallint)
returns void
language plpgsql set search_path = '' as $$
begin
  perform public.lock_tenant(for_user);
  update public.task_slots set task_id = null where user_id = for_user and slot = for_slot;
  perform public.open_lanes(for_user);
end
$$;
revoke all on function public.free_slot from public, anon, authenticated;
