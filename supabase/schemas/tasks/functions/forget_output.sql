-- What a deleted task made no longer names it: its id may be used again. An archived task is not deleted.
create or replace function public.forget_output()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from public.archived_tasks where id = old.id) then
    update public.generations set source_task_id = null where source_task_id = old.id;
    update public.generation_variants set source_task_id = null
     where source_task_id = old.id
       and (id = (old.result_data ->> 'variant_id')::uuid
            or id in (select (more ->> 'variant_id')::uuid
                        from jsonb_array_elements(old.result_data -> 'more_outputs') as more));
  end if;
  return null;
end
$$;
revoke all on function public.forget_output from public, anon, authenticated;
