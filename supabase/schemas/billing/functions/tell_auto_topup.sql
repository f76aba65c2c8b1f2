-- Tells a person's browsers what came of an automatic top-up.
create or replace function public.tell_auto_topup(
  for_user uuid, status text, reason text default null, amount_cents integer default null
) returns void
language plpgsql set search_path = '' as $$
begin
  perform realtime.send(
    jsonb_build_object('user_id', for_user, 'status', status, 'reason', reason, 'amount', amount_cents),
    'auto_topup', 'credits:' || for_user, true);
end
$$;
revoke all on function public.tell_auto_topup from public, anon, authenticated;
