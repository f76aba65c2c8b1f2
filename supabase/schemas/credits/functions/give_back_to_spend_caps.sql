-- What a closed hold did not spend counts for its caps no more, unless its month is over.
create or replace function public.give_back_to_spend_caps(hold public.credit_holds, unspent_microusd bigint)
returns void
language plpgsql set search_path = '' as $$
begin
  update public.spend_caps
     set committed_microusd = committed_microusd - unspent_microusd
   where (project_id = hold.project_id or token_id = hold.token_id)
     and month = public.spend_month(hold.created_at);
end
$$;
revoke all on function public.give_back_to_spend_caps from public, anon, authenticated;
