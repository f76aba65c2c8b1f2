create or replace function public.broadcast_balance()
returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object(
      'user_id', new.user_id, 'credits', new.balance_microusd / 10000.0,
      'balance_microusd', new.balance_microusd, 'held_microusd', new.held_microusd,
      'available_microusd', new.balance_microusd - new.held_microusd),
    'balance', 'credits:' || new.user_id, true);
  if new.balance_microusd < old.balance_microusd
     and exists (select from public.users as person
                  where person.id = new.user_id
                    and old.balance_microusd > person.low_balance_threshold * 10000::bigint
                    and new.balance_microusd <= person.low_balance_threshold * 10000::bigint) then
    perform realtime.send(
      jsonb_build_object('user_id', new.user_id, 'credits', new.balance_microusd / 10000.0,
                         'balance_microusd', new.balance_microusd),
      'low_balance', 'credits:' || new.user_id, true);
  end if;
  return null;
end
$$;
revoke all on function public.broadcast_balance from public, anon, authenticated;
