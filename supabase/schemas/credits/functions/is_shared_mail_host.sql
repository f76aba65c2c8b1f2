-- Whether this address is at a large provider, where people take one mailbox each. A name under a provider's (fastmail
-- gives everybody one) is not the provider: it is a way to any number of addresses.
create or replace function public.is_shared_mail_host(email text)
returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return (select split_part(lower(trim(is_shared_mail_host.email)), '@', 2) = any (shared_mail_domains)
            from public.credit_settings);
end
$$;
revoke all on function public.is_shared_mail_host from public, anon, authenticated;
