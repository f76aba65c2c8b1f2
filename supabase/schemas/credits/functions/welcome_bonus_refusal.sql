-- Why this person gets no welcome bonus; null when there is no reason. One bonus is for one person with a mailbox: the address
-- is confirmed and, but for a local host or where the operator decided otherwise, proven; no spelling of it had one; and neither
-- its domain nor its network nor the day is a source of any number of them.
create or replace function public.welcome_bonus_refusal(for_user uuid)
returns text
language plpgsql stable set search_path = '' as $$
declare
  person auth.users;
  settings public.credit_settings;
  network text;
begin
  if exists (select from public.welcome_bonuses where user_id = for_user) then
    return 'already_granted';
  end if;
  select * into person from auth.users where id = for_user;
  select * into settings from public.credit_settings;
  network := public.network_of_person(for_user);
  return case
    when settings.welcome_bonus_microusd = 0 then 'no_bonus'
    when coalesce(person.is_anonymous, false) or person.email is null then 'anonymous'
    when person.email_confirmed_at is null then 'address_not_confirmed'
    when settings.welcome_bonus_needs_proven_address and not settings.is_local_host
         and not public.address_is_proven(person) then 'address_not_proven'
    when exists (select from public.welcome_bonuses
                  where address_hash = sha256(convert_to(public.address_key(person.email), 'UTF8'))) then 'address_used'
    when not public.is_shared_mail_host(person.email)
         and settings.welcome_bonuses_per_domain_and_day <= (
           select count(*) from public.welcome_bonuses
            where domain = public.mail_domain(person.email) and created_at > now() - interval '1 day')
      then 'domain_limit'
    when settings.welcome_bonuses_per_network_and_day is not null and network is null then 'network_unknown'
    -- Whoever tries a local host out signs up more than once: each example makes a person of its own.
    when greatest(settings.welcome_bonuses_per_network_and_day, case when settings.is_local_host then 20 end) <= (
           select count(*) from public.welcome_bonuses
            where network_hash = sha256(convert_to(network, 'UTF8')) and created_at > now() - interval '1 day')
      then 'network_limit'
    when settings.welcome_bonuses_per_day <= (
           select count(*) from public.welcome_bonuses where created_at > now() - interval '1 day')
      then 'day_limit' end;
end
$$;
revoke all on function public.welcome_bonus_refusal from public, anon, authenticated;
