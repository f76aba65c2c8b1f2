-- The domain that somebody had to register for this address: its last two labels, three under such as `co.uk`.
create or replace function public.mail_domain(email text)
returns text
language plpgsql immutable set search_path = '' as $$
declare
  labels constant text[] := string_to_array(split_part(lower(trim(email)), '@', 2), '.');
  size constant integer := cardinality(labels);
begin
  if size > 2 and length(labels[size]) = 2 and labels[size - 1] in ('co', 'com', 'net', 'org', 'ac', 'gov', 'edu') then
    return array_to_string(labels[size - 2:], '.');
  end if;
  return array_to_string(labels[greatest(size - 1, 1):], '.');
end
$$;
revoke all on function public.mail_domain from public, anon, authenticated;
