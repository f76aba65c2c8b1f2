-- The newest generation of a project that shows the image which a task began with.
create or replace function public.source_of_image(task_params jsonb, of_project uuid)
returns uuid
language plpgsql stable set search_path = '' as $$
begin
  if jsonb_typeof(task_params -> 'image') is distinct from 'string' then
    return null;
  end if;
  return (select id from public.generations
           where location = task_params ->> 'image' and project_id = of_project order by created_at desc limit 1);
end
$$;
revoke all on function public.source_of_image from public, anon, authenticated;
