-- Makes intermediate files of a running orchestrator readable that a part of it is created to read: a clip that was cut for it, for
-- example. Its worker names them in the part's params, by which everybody who may read the task learns their URLs. Nothing happens
-- unless the caller is of the kind that runs the orchestrator: owners can publish nothing of a run in the cloud.
create or replace function public.publish_inputs(part public.tasks, by_owner boolean)
returns void
language plpgsql set search_path = '' as $$
begin
  if part.orchestrator_task_id is null
     or position(format('/tasks/%s/', part.orchestrator_task_id) in part.params::text) = 0 then
    return;
  end if;
  update public.output_files as file
     set published_at = now()
   where file.task_id = part.orchestrator_task_id and file.delivered_at is null and file.published_at is null
     and file.deleting_since is null and position(file.path in part.params::text) > 0
     and exists (select from public.tasks as run
                  where run.id = part.orchestrator_task_id and run.status = 'In Progress'
                    and run.claimed_by_owner = by_owner);
end
$$;
revoke all on function public.publish_inputs from public, anon, authenticated;
