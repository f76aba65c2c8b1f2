-- Why this person gets no welcome bonus; null when there is no reason. One bonus is for one person with a mailbox:
-- the address is confirmed, no spelling of it had one, and neither its domain nor the day is a source of any number of them.
create or replace function public.welcome_bonus_refusal(for_user uuid)
returns text
language plpgsql stable set search_path = '' as $$
declare
  person auth.users;
  settings public.credit_settings;
begin
  if exists (select from public.welcome_bonuses where user_id = for_user) then
    return 'already_granted';
  end if;
  select * into person from auth.users where id = for_user;
  select * into settings from public.credit_settings;
  return case
    when settings.welcome_bonus_microusd = 0 then 'no_bonus'
    when coalesce(person.is_anonymous, false) or person.email is null then 'anonymous'
    when person.email_confirmed_at is null then 'address_not_confirmed'
    when exists (select from public.welcome_bonuses
                  where address_hash = sha256(convert_to(public.address_key(person.email), 'UTF8'))) then 'address_used'
    when not public.is_shared_mail_host(person.email)
         and settings.welcome_bonuses_per_domain_and_day <= (
           select count(*) from public.welcome_bonuses
            where domain = public.mail_domain(person.email) and created_at > now() - interval '1 day')
      then 'domain_limit'
    when settings.welcome_bonuses_per_day <= (
           select count(*) from public.welcome_bonuses where created_at > now() - interval '1 day')
      then 'day_limit' end;
end
$$;
revoke all on function public.welcome_bonus_refusal from public, anon, authenticated;
