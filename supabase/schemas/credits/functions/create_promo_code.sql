-- A code that gives credit. The same code with the same content again is the same success; with other content 409.
create or replace function public.create_promo_code(
  new_code text, amount_cents integer, max_uses integer, valid_from timestamptz, valid_until timestamptz,
  credit_days integer, description text, actor text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  made public.promo_codes;
  repeated boolean := false;
begin
  insert into public.promo_codes
    (code, amount_microusd, max_uses, valid_from, valid_until, credit_days, description, created_by)
  select upper(new_code), amount_cents * 10000::bigint, create_promo_code.max_uses,
         coalesce(create_promo_code.valid_from, now()), create_promo_code.valid_until, create_promo_code.credit_days,
         create_promo_code.description, actor
   where create_promo_code.valid_until is null
      or create_promo_code.valid_until > coalesce(create_promo_code.valid_from, now())
  on conflict (code) do nothing
  returning * into made;
  if not found then
    repeated := true;
    select * into made from public.promo_codes where code = upper(new_code);
    if not found then
      perform public.refuse('invalid_request', 400,
        '{"issues": [{"path": "valid_until", "message": "is before the code begins"}]}');
    end if;
    if (made.amount_microusd, made.max_uses, made.valid_until, made.credit_days, made.description)
       is distinct from (amount_cents * 10000::bigint, create_promo_code.max_uses, create_promo_code.valid_until,
                         create_promo_code.credit_days, create_promo_code.description)
       or made.valid_from <> create_promo_code.valid_from then
      perform public.refuse('promo_code_taken', 409);
    end if;
  end if;
  return jsonb_build_object(
    'code', made.code, 'amount', made.amount_microusd / 10000.0, 'amount_microusd', made.amount_microusd,
    'max_uses', made.max_uses, 'uses', made.uses, 'valid_from', made.valid_from, 'valid_until', made.valid_until,
    'credit_days', made.credit_days, 'description', made.description, 'deduplicated', repeated);
end
$$;
revoke all on function public.create_promo_code from public, anon, authenticated;
grant execute on function public.create_promo_code to service_role;
