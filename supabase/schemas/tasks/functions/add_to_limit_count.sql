-- Adds to a count that a limit is compared with. Takes a row that no other transaction is writing, or makes a new one,
-- so it waits for nobody.
create or replace function public.add_to_limit_count(of_subject text, of_subject_id uuid, change integer)
returns void
language plpgsql set search_path = '' as $$
declare
  counted record;
begin
  update public.limit_counts set amount = amount + change
   where id = (select id from public.limit_counts
                where subject_id = of_subject_id and subject = of_subject limit 1 for no key update skip locked)
  returning id, amount into counted;
  if not found then
    insert into public.limit_counts (subject, subject_id, amount) values (of_subject, of_subject_id, change);
  elsif counted.amount = 0 and of_subject <> 'open_tasks' then
    -- Tasks end, and their counts with them. A user's row stays: the next task needs it.
    delete from public.limit_counts where id = counted.id;
  end if;
end
$$;
revoke all on function public.add_to_limit_count from public, anon, authenticated;
