/**
 * Two other queues to stand beside ours, with the same tasks: a claim of the shape that the older implementation
 * had (it joins, sorts and numbers all that is queued, and asks for each row whether it may run), and the bare
 * statement that takes one row and knows no users, models or dependencies.
 */
import type { Sql } from "postgres";

export async function makeOtherQueues(sql: Sql): Promise<void> {
  await sql.unsafe(`
    create schema reference;
    create table reference.users (id uuid primary key, credits numeric not null, settings jsonb not null default '{}');
    create table reference.projects (id uuid primary key, user_id uuid not null references reference.users (id));
    create table reference.task_types (name text primary key, run_type text not null, is_active boolean not null);
    create table reference.workers (id text primary key, current_model text, status text not null);
    create table reference.tasks (
      id uuid primary key, task_type text not null, params jsonb not null, status text not null,
      dependant_on uuid[], project_id uuid not null references reference.projects (id), worker_id text,
      created_at timestamptz not null, updated_at timestamptz, generation_started_at timestamptz
    );
    create index on reference.tasks (status, created_at);
    create index on reference.tasks (project_id, status);
    create index on reference.tasks (created_at) where status = 'Queued';
    create index on reference.tasks using gin (dependant_on) where dependant_on is not null;

    create function reference.dependencies_met(ids uuid[]) returns boolean language sql stable as $$
      select ids is null or cardinality(ids) = 0
          or (select count(*) from unnest(ids) as id join reference.tasks as needed on needed.id = id.id
               where needed.status = 'Complete') = cardinality(ids)
    $$;
    create function reference.run_type_of(type_name text) returns text language plpgsql volatile as $$
    declare found_type text;
    begin
      select run_type into found_type from reference.task_types where name = type_name and is_active;
      return coalesce(found_type, 'gpu');
    end $$;
    create function reference.model_of(params jsonb) returns text language sql immutable as $$
      select coalesce(params ->> 'model_name', params -> 'orchestrator_details' ->> 'model_name', params ->> 'model')
    $$;
    create function reference.claim(worker text, wanted_run_type text) returns uuid language plpgsql as $$
    declare
      warm text := (select current_model from reference.workers where id = worker and status = 'active');
      claimed uuid;
    begin
      with running as (
        select owner.id as user_id, count(task.id) filter (
                 where task.status = 'In Progress' and task.task_type not ilike '%orchestrator%') as tasks
          from reference.users as owner
          join reference.projects as project on project.user_id = owner.id
          left join reference.tasks as task on task.project_id = project.id and task.status = 'In Progress'
         where owner.credits > 0
           and coalesce((owner.settings -> 'ui' -> 'generationMethods' ->> 'inCloud')::boolean, true)
         group by owner.id
      ), ready as (
        select task.id, task.params,
               row_number() over (order by (reference.model_of(task.params) = warm) desc nulls last, task.created_at) as place
          from reference.tasks as task
          join reference.projects as project on project.id = task.project_id
          join running on running.user_id = project.user_id and running.tasks < 5
         where task.status = 'Queued' and reference.dependencies_met(task.dependant_on)
           and reference.run_type_of(task.task_type) = wanted_run_type
      )
      update reference.tasks set status = 'In Progress', worker_id = worker, updated_at = now(), generation_started_at = now()
       where id = (select id from ready where place = 1)
      returning id into claimed;
      return claimed;
    end $$;

    create schema bare;
    create table bare.tasks (id uuid primary key, status text not null, params jsonb not null, created_at timestamptz not null);
    create index on bare.tasks (created_at) where status = 'Queued'`);
}

/** The same tasks as in our queue. */
export async function fillOtherQueues(sql: Sql): Promise<void> {
  await sql.unsafe(`
    truncate reference.tasks, reference.projects, reference.users, reference.task_types, bare.tasks;
    insert into reference.users (id, credits, settings)
    select person.id, case when exists (select from public.task_lanes where user_id = person.id and not in_cloud)
                           then 0 else 100 end,
           jsonb_build_object('ui', jsonb_build_object('generationMethods', jsonb_build_object('inCloud', tenant.allows_cloud)))
      from public.users as person join public.task_tenants as tenant on tenant.user_id = person.id;
    insert into reference.projects select id, user_id from public.projects;
    insert into reference.task_types select name, run_type, true from public.task_types where alias_of is null;
    insert into reference.tasks (id, task_type, params, status, dependant_on, project_id, worker_id, created_at)
    select id, task_type, params, status::text,
           case when unmet_dependencies > 0 then array(select dependency_id from public.task_dependencies where task_id = task.id) end,
           project_id, worker_id, created_at
      from public.tasks as task;
    -- It knows nothing that could stand in its way: all of them may be claimed.
    insert into bare.tasks select id, 'Queued', params, created_at from public.tasks`);
  await sql.unsafe("vacuum analyze reference.tasks");
  await sql.unsafe("vacuum analyze bare.tasks");
}
