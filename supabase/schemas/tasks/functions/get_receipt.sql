-- The receipt of a ledger entry, or of the charge for a task or a paid call: what it was for, line by line, and what it came to.
create or replace function public.get_receipt(for_user uuid, for_entry uuid, for_task uuid, for_call uuid)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  entry public.credits_ledger;
  task public.all_tasks;
  type_name text;
  lines jsonb := '[]';
begin
  if for_entry is not null then
    select * into entry from public.credits_ledger
     where id = for_entry and (for_user is null or user_id = for_user);
  elsif for_call is not null then
    select * into entry from public.credits_ledger
     where call_id = for_call and (for_user is null or user_id = for_user);
  else
    select * into entry from public.credits_ledger
     where task_id = for_task and type in ('spend', 'write_off') and (for_user is null or user_id = for_user);
  end if;
  if not found then
    perform public.refuse('entry_not_found', 404);
  end if;
  if entry.task_id is not null then
    select * into task from public.all_tasks where id = entry.task_id limit 1;
    if found then
      lines := public.cost_lines(task);
      type_name := task.task_type;
    end if;
    if entry.write_off_microusd < 0 then
      lines := lines || jsonb_build_object('item', 'written_off', 'total_microusd', entry.write_off_microusd);
    end if;
  elsif entry.call_id is not null then
    select price.task_type, jsonb_build_array(jsonb_build_object(
             'item', price.task_type, 'price_version', price.version, 'unit', 'output', 'quantity', call.charged_units,
             'each_microusd', price.price_microusd, 'total_microusd', call.charged_microusd))
      into type_name, lines
      from public.paid_calls as call join public.task_type_prices as price on price.id = call.price_id
     where call.id = entry.call_id;
  end if;
  return jsonb_build_object(
    'receipt_number', format('%s-%s', upper(left(replace(entry.user_id::text, '-', ''), 12)), entry.sequence),
    'entry', public.ledger_entry_summary(entry), 'task_type', type_name,
    'customer', (select jsonb_build_object('id', id, 'name', name, 'email', email)
                   from public.users where id = entry.user_id),
    'lines', lines, 'grants_drawn', (
      select coalesce(jsonb_agg(jsonb_build_object(
               'grant_id', drawn.id, 'category', drawn.category, 'amount_microusd', draw.amount_microusd,
               'expires_at', drawn.expires_at) order by drawn.id), '[]')
        from public.credit_grant_draws as draw join public.credit_grants as drawn on drawn.id = draw.grant_id
       where draw.entry_id = entry.id),
    'currency', 'usd', 'total', abs(entry.amount), 'total_microusd', abs(entry.amount_microusd))
    -- The operator's business alone.
    || case when for_user is null and entry.task_id is not null then jsonb_build_object('provider_cost_microusd', (
         select coalesce(sum(cost.provider_cost_microusd), 0) from public.task_provider_costs as cost
          where cost.task_id = entry.task_id or cost.task_id in (select part.id from public.parts_of_task(entry.task_id) as part)))
       else '{}' end;
end
$$;
revoke all on function public.get_receipt from public, anon, authenticated;
grant execute on function public.get_receipt to service_role;
