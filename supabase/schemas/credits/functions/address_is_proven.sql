-- Whether somebody has shown that a mail address is theirs: by a mail that was sent to it before it counted as confirmed, or by
-- an identity provider. A server that confirms every address by itself sends no mail, so nothing is proven there.
create or replace function public.address_is_proven(person auth.users)
returns boolean
language plpgsql stable set search_path = '' as $$
declare
  -- The standalone host's table has no column for mails.
  known constant jsonb := to_jsonb(person);
begin
  return person.email_confirmed_at is not null and (
    coalesce((known ->> 'confirmation_sent_at')::timestamptz <= person.email_confirmed_at, false)
    or coalesce(person.raw_app_meta_data ->> 'provider', 'email') not in ('email', 'phone', 'anonymous'));
end
$$;
revoke all on function public.address_is_proven from public, anon, authenticated;
