-- Switches automatic top-ups off for a reason that will not pass by itself, and tells its owner. A declined card is
-- kept, for its owner may set it right; one that is gone is not.
create or replace function public.disable_auto_topup(for_user uuid, reason text)
returns void
language plpgsql set search_path = '' as $$
declare
  was_enabled boolean;
begin
  select auto_topup_enabled into was_enabled from public.users where id = for_user for no key update;
  update public.users
     set auto_topup_enabled = false,
         auto_topup_disabled_reason = case when was_enabled then reason else auto_topup_disabled_reason end,
         auto_topup_setup_completed = auto_topup_setup_completed and reason not in ('card_removed', 'customer_removed')
   where id = for_user;
  if was_enabled then
    perform public.tell_auto_topup(for_user, 'disabled', reason);
  end if;
end
$$;
revoke all on function public.disable_auto_topup from public, anon, authenticated;
