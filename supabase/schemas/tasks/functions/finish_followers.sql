-- Writes what share_result() made of followers: their rows, who waited for them, and then the charges.
create or replace function public.finish_followers(shared public.tasks[])
returns void
language plpgsql set search_path = '' as $$
declare
  task public.tasks;
  room integer := (select direct_cascade from public.queue_settings);
begin
  foreach task in array shared loop
    update public.tasks
       set status = task.status, is_following = false, unmet_dependencies = 0, result_key = null,
           reused_task_id = task.reused_task_id, claimed_by_owner = task.claimed_by_owner,
           output_location = task.output_location, thumbnail_url = task.thumbnail_url, progress = task.progress,
           generation_processed_at = task.generation_processed_at, updated_at = task.updated_at,
           generation_created = task.generation_created, result_data = task.result_data, warnings = task.warnings,
           cost_microusd = task.cost_microusd, error_message = null
     where id = task.id;
    room := room - public.release_dependants(task.id, room);
  end loop;
  foreach task in array shared loop
    perform public.close_hold(task.id, task.cost_microusd, public.charge_metadata(task));
  end loop;
end
$$;
revoke all on function public.finish_followers from public, anon, authenticated;
