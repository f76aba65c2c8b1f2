-- Limits what a project, or a token, may spend in a calendar month (UTC); null lifts the limit. What it has spent and
-- holds this month counts. Open holds stay.
create or replace function public.set_spend_cap(
  for_user uuid, for_project uuid, for_token uuid, new_cap_microusd bigint
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  owner uuid;
  this_month constant date := public.spend_month(now());
  cap public.spend_caps;
begin
  if for_project is not null then
    select user_id into owner from public.projects where id = for_project and (for_user is null or user_id = for_user);
    if not found then
      perform public.refuse('project_not_found', 404);
    end if;
  else
    select user_id into owner from public.personal_access_tokens
     where id = for_token and revoked_at is null and (for_user is null or user_id = for_user);
    if not found then
      perform public.refuse('token_not_found', 404);
    end if;
  end if;
  -- Holds are opened and closed under this lock: none is missed, none counted twice.
  perform from public.credit_accounts where user_id = owner for no key update;
  delete from public.spend_caps where project_id = for_project or token_id = for_token;
  if new_cap_microusd is not null then
    insert into public.spend_caps (user_id, project_id, token_id, cap_microusd, month, committed_microusd)
    values (owner, for_project, for_token, new_cap_microusd, this_month,
            public.spent_in_month(for_project, for_token, this_month))
    returning * into cap;
  end if;
  update public.credit_accounts
     set has_spend_caps = exists (select from public.spend_caps where user_id = owner)
   where user_id = owner;
  return jsonb_build_object(
    'project_id', for_project, 'token_id', for_token,
    'cap_credits', cap.cap_microusd / 10000.0, 'cap_microusd', cap.cap_microusd,
    'month', this_month, 'committed_microusd', cap.committed_microusd);
end
$$;
revoke all on function public.set_spend_cap from public, anon, authenticated;
grant execute on function public.set_spend_cap to service_role;
