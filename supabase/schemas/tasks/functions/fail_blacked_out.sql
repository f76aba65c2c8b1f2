-- Ends a run whose every output the provider's safety checker made black: there is nothing to show and nothing to charge, and who
-- depends on it must not go on with a black picture. Answers what its worker is told. The caller has the task's lock.
create or replace function public.fail_blacked_out(task public.tasks, outputs integer)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  message constant text := 'blacked_out: The safety checker of the provider made every output black. Nothing is charged.';
begin
  -- They have ended: there is nothing to withdraw.
  delete from public.provider_jobs where task_id = task.id;
  update public.tasks set result_data = result_data || jsonb_build_object('blacked_out', outputs) where id = task.id;
  perform public.end_task(task.id, 'Failed', message, by_owner => false);
  return (select public.stored_completion(failed) || jsonb_build_object('message', message)
            from public.tasks as failed where failed.id = task.id);
end
$$;
revoke all on function public.fail_blacked_out from public, anon, authenticated;
