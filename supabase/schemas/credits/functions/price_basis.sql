-- All that the price of a task depends on: what its params say of factors, and the children that they plan. Ids, seeds
-- and words are not in it.
create or replace function public.price_basis(for_task_type text, params jsonb)
returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'factors', (select jsonb_object_agg(name, public.factor_value(name, params))
                  from unnest(public.cost_factor_names()) as name),
    'children', (select jsonb_object_agg(child_type, child_count)
                   from public.planned_children(for_task_type, params)));
end
$$;
revoke all on function public.price_basis from public, anon, authenticated;
