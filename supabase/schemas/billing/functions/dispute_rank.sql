-- Which of two words about a dispute, of the same second, is the later one.
create or replace function public.dispute_rank(status text)
returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when status like 'warning%' then 1 when status = 'needs_response' then 2 when status = 'under_review' then 3
    when status like 'appeal%' then 5 when status = 'won' then 6 else 4 end;
end
$$;
revoke all on function public.dispute_rank from public, anon, authenticated;
