-- Merges the rows of a lane's count, and halves the weight of old run times so that estimates follow what is now.
create or replace function public.tidy_counts()
returns void
language plpgsql security definer set search_path = '' as $$
declare
  lane bigint;
  counted record;
begin
  for lane in
    select lane_id from public.task_counts group by lane_id having count(*) > 1 order by lane_id limit 10000
  loop
    -- Rows that are being written stay for another time.
    with mine as (
      select * from public.task_counts where lane_id = lane for update skip locked
    ), gone as (
      delete from public.task_counts
       where id in (select id from mine) and id <> (select min(id) from mine)
      returning ready, blocked, scheduled, running
    ), total as (
      select sum(ready) as ready, sum(blocked) as blocked, sum(scheduled) as scheduled, sum(running) as running from gone
    )
    update public.task_counts as kept
       set ready = kept.ready + total.ready, blocked = kept.blocked + total.blocked,
           scheduled = kept.scheduled + total.scheduled, running = kept.running + total.running
      from total
     where kept.id = (select min(id) from mine) and total.ready is not null;
  end loop;
  for counted in
    select subject, subject_id from public.limit_counts
     group by subject, subject_id having count(*) > 1 order by subject, subject_id limit 10000
  loop
    with mine as (
      select * from public.limit_counts
       where subject_id = counted.subject_id and subject = counted.subject for update skip locked
    ), gone as (
      delete from public.limit_counts
       where id in (select id from mine) and id <> (select min(id) from mine)
      returning amount
    )
    update public.limit_counts as kept set amount = kept.amount + total.amount
      from (select sum(amount)::integer as amount from gone) as total
     where kept.id = (select min(id) from mine) and total.amount is not null;
  end loop;
  delete from public.limit_counts
   where id in (
     select left_behind.id from public.limit_counts as left_behind
      where case subject when 'open_tasks' then not exists (select from public.task_tenants where user_id = subject_id)
            else amount = 0 or not exists (select from public.tasks where tasks.id = subject_id) end
        for update skip locked);
  delete from public.task_counts as left_behind
   where not exists (select from public.task_lanes where id = left_behind.lane_id);
  update public.task_run_times set runs = runs / 2
   where (task_type, model) in (
     select task_type, model from public.task_run_times group by task_type, model having sum(runs) > 400);
  delete from public.task_run_times where runs = 0;
end
$$;
revoke all on function public.tidy_counts from public, anon, authenticated;
grant execute on function public.tidy_counts to service_role;
