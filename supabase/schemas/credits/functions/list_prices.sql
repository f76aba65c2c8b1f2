-- The price list: what each type costs now, and what is announced for later. For everybody.
create or replace function public.list_prices()
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return jsonb_build_object('currency', 'usd', 'unit', 'credits', 'prices', (
    select jsonb_agg(public.price_summary(public.current_price(kind.name))
           || public.price_terms(kind, public.current_price(kind.name)) || jsonb_build_object(
             'display_name', kind.display_name, 'run_type', kind.run_type, 'category', kind.category,
             'content_type', kind.content_type, 'is_visible', kind.is_visible,
             'announced', (select coalesce(jsonb_agg(public.price_summary(price) order by price.valid_from, price.version), '[]')
                             from public.task_type_prices as price
                            where price.task_type = kind.name and price.valid_from > now()))
           order by kind.name)
      from public.task_types as kind
     where kind.is_active and kind.alias_of is null and kind.category <> 'orchestration'
       and (public.current_price(kind.name)).id is not null));
end
$$;
revoke all on function public.list_prices from public, anon, authenticated;
grant execute on function public.list_prices to service_role;
