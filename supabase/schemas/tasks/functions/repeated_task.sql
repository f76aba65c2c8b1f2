-- The answer to a create whose task id exists: the first answer for the same request, else 409.
create or replace function public.repeated_task(known public.tasks, for_owner uuid, request_hash bytea)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if known.user_id is distinct from for_owner or known.request_hash <> repeated_task.request_hash then
    perform public.refuse('task_id_conflict', 409);
  end if;
  return public.created_task(
      known,
      (select billing_type = 'per_unit' from public.task_type_prices where id = known.price_id)
        and not known.is_orchestrator,
      (select version from public.task_type_prices where id = known.price_id))
    || jsonb_build_object(
      'held_microusd', coalesce((select amount_microusd from public.credit_holds
                                  where task_id = known.id and state = 'held'), 0),
      'deduplicated', true);
end
$$;
revoke all on function public.repeated_task from public, anon, authenticated;
