-- Which of two words about a refund, of the same second, is the later one.
create or replace function public.refund_rank(status text)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return case status when 'pending' then 1 when 'requires_action' then 2 when 'succeeded' then 3 else 4 end;
end
$$;
revoke all on function public.refund_rank from public, anon, authenticated;
