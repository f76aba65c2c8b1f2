-- The outputs of a run, [{path, location, facts}], those first that can be shown; each that a safety checker made black says so in
-- its facts.
create or replace function public.outputs_in_order(params jsonb, outputs jsonb)
returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_agg(case when is_black then jsonb_set(output, '{facts,blacked_out}', 'true') else output end
                   order by is_black, place)
    from jsonb_array_elements(outputs) with ordinality as listed (output, place),
         lateral (select public.is_blacked_out(params, output -> 'facts') as is_black) as looked
$$;
revoke all on function public.outputs_in_order from public, anon, authenticated;
