-- One task more or fewer in a lane's count of a state; those that have ended are not counted.
create or replace function public.add_to_count(for_lane bigint, state text, change integer)
returns void
language plpgsql set search_path = '' as $$
begin
  if state = 'ended' then
    return;
  end if;
  update public.task_counts
     set ready = ready + case state when 'ready' then change else 0 end,
         blocked = blocked + case state when 'blocked' then change else 0 end,
         scheduled = scheduled + case state when 'scheduled' then change else 0 end,
         running = running + case state when 'running' then change else 0 end
   where id = (select id from public.task_counts where lane_id = for_lane limit 1 for no key update skip locked);
  if not found then
    insert into public.task_counts (lane_id, ready, blocked, scheduled, running)
    values (for_lane, case state when 'ready' then change else 0 end, case state when 'blocked' then change else 0 end,
            case state when 'scheduled' then change else 0 end, case state when 'running' then change else 0 end);
  end if;
end
$$;
revoke all on function public.add_to_count from public, anon, authenticated;
