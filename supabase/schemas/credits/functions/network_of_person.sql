-- The network from which somebody signed up: the /24 of an IPv4 address, the /48 of an IPv6 one. The standalone host says the
-- address while it makes the person; else it is that of their first session. Null where neither is known.
create or replace function public.network_of_person(for_user uuid)
returns text
language plpgsql stable set search_path = '' as $$
declare
  address inet := coalesce(
    nullif(current_setting('darkroom.client_address', true), '')::inet,
    (select ip from auth.sessions where user_id = for_user order by created_at, id limit 1));
begin
  -- An IPv4 address in the form of IPv6 is an IPv4 address.
  if address <<= '::ffff:0.0.0.0/96' then
    address := replace(host(address), '::ffff:', '')::inet;
  end if;
  return text(network(set_masklen(address, case family(address) when 4 then 24 else 48 end)));
end
$$;
revoke all on function public.network_of_person from public, anon, authenticated;
