import { openPool, type Pool } from "../../supabase/functions/_shared/database/pool.ts";

/**
 * A claim of the shape that Darkroom's predecessor had: one statement that looks at every queued row. It ranks all
 * of them by model, then age, asks a function about each row's dependencies and another about its run type, and
 * takes the first. Its tables hold what is queued in Darkroom's at that moment.
 */
export class ReferenceQueue {
  readonly #sql: Pool;

  constructor(url: string) {
    this.#sql = openPool({ url, name: "darkroom", connections: 1 });
  }

  async seed(): Promise<void> {
    await this.#sql.query(definitions);
    await this.#sql.query("vacuum analyze reference.tasks");
  }

  /** Claims, and tells whether there was anything. */
  async claim(worker: string, runType: string): Promise<string | undefined> {
    const [row] = await this.#sql<{ task_id: string }[]>`
      select task_id from reference.claim_next_task(${worker}, ${runType}, false)`;
    return row?.task_id;
  }

  async putBack(id: string): Promise<void> {
    await this.#sql`update reference.tasks set status = 'Queued', worker_id = null where id = ${id}`;
  }

  async drop(): Promise<void> {
    await this.#sql`drop schema if exists reference cascade`;
  }

  async close(): Promise<void> {
    await this.#sql.end();
  }
}

const definitions = `
drop schema if exists reference cascade;
create schema reference;

create table reference.users as
  select users.id, users.settings,
         case when exists (select from public.task_lanes where user_id = users.id and not in_cloud) then 0
              else 1000 end as credits
    from public.users;
alter table reference.users add primary key (id);
create table reference.projects as select id, user_id from public.projects;
alter table reference.projects add primary key (id);
create index on reference.projects (user_id);
create table reference.task_types as select name, run_type::text, is_active from public.task_types;
alter table reference.task_types add primary key (name);
create table reference.workers as select id, current_model, status from public.workers;
alter table reference.workers add primary key (id);
create table reference.tasks as
  select id, project_id, task_type, params::jsonb as params, status, dependant_on, null::text as worker_id,
         created_at, updated_at, null::timestamptz as generation_started_at
    from public.tasks order by created_at;
alter table reference.tasks add primary key (id);
create index on reference.tasks (status, created_at);
create index on reference.tasks (project_id, status);
analyze reference.users;
analyze reference.projects;
analyze reference.workers;

create function reference.dependencies_are_met(dependencies uuid[]) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(cardinality(dependencies), 0) = 0
      or (select count(*) from reference.tasks where id = any (dependencies) and status = 'Complete')
         = cardinality(dependencies)
$$;

-- Volatile, as functions are unless they say otherwise.
create function reference.run_type_of(type_name text) returns text
language plpgsql as $$
declare
  found_type text;
begin
  select run_type into found_type from reference.task_types where name = type_name and is_active;
  return coalesce(found_type, 'gpu');
end
$$;

create function reference.model_of(params jsonb) returns text
language sql immutable set search_path = '' as $$
  select coalesce(params ->> 'model_name', params -> 'orchestrator_details' ->> 'model_name', params ->> 'model')
$$;

create function reference.claim_next_task(for_worker text, for_run_type text, same_model_only boolean)
returns table (task_id uuid, task_params jsonb, type_name text, task_project uuid)
language plpgsql as $$
declare
  warm_model text;
begin
  select current_model into warm_model from reference.workers where id = for_worker and status = 'active';
  return query
    with capacity as (
      select owner.id as user_id
        from reference.users as owner
        left join reference.projects as project on project.user_id = owner.id
        left join reference.tasks as running
          on running.project_id = project.id and running.status = 'In Progress'
             and running.task_type not ilike '%orchestrator%'
       where owner.credits > 0
         and coalesce((owner.settings -> 'ui' -> 'generationMethods' ->> 'inCloud')::boolean, true)
       group by owner.id having count(running.id) < 5
    ),
    ranked as (
      select task.id, task.params, task.task_type, task.project_id,
             row_number() over (
               order by (reference.model_of(task.params) is not distinct from warm_model) desc, task.created_at) as place
        from reference.tasks as task
        join reference.projects as project on project.id = task.project_id
        join capacity on capacity.user_id = project.user_id
       where task.status = 'Queued'
         and reference.dependencies_are_met(task.dependant_on)
         and (for_run_type is null or reference.run_type_of(task.task_type) = for_run_type)
         and (not same_model_only or warm_model is null or reference.model_of(task.params) = warm_model)
    )
    update reference.tasks as task
       set status = 'In Progress', worker_id = for_worker, updated_at = now(), generation_started_at = now()
      from ranked
     where ranked.place = 1 and task.id = ranked.id
    returning ranked.id, ranked.params, ranked.task_type, ranked.project_id;
end
$$;
`;
