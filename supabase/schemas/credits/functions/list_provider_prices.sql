-- What each model of a provider, or of all, costs now, and the versions that are announced. A model whose first price is yet to
-- come is listed with that price.
create or replace function public.list_provider_prices(for_provider text default null)
returns jsonb
language sql stable security definer set search_path = '' as $$
  with known as (
    select distinct each.provider, each.model from public.provider_prices as each
     where for_provider is null or each.provider = for_provider
  ), shown as (
    select known.provider, known.model, public.provider_price_summary(latest.price) || jsonb_build_object(
             'in_force', (latest.price).valid_from <= now(),
             'announced', (
               select coalesce(jsonb_agg(public.provider_price_summary(later) order by later.valid_from, later.version), '[]')
                 from public.provider_prices as later
                where later.provider = known.provider and later.model = known.model and later.valid_from > now())) as price
      from known cross join lateral (
        select one as price from public.provider_prices as one
         where one.provider = known.provider and one.model = known.model
         order by one.valid_from <= now() desc, abs(extract(epoch from one.valid_from - now())), one.version desc
         limit 1) as latest
  )
  select jsonb_build_object('currency', 'usd', 'prices', (
    select coalesce(jsonb_agg(shown.price order by shown.provider, shown.model), '[]') from shown))
$$;
revoke all on function public.list_provider_prices from public, anon, authenticated;
grant execute on function public.list_provider_prices to service_role;
