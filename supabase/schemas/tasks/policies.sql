alter table public.task_types enable row level security;
alter table public.task_tenants enable row level security;
alter table public.task_slots enable row level security;
alter table public.task_lanes enable row level security;
alter table public.user_turns enable row level security;
alter table public.project_slots enable row level security;
alter table public.task_type_slots enable row level security;
alter table public.turn_marks enable row level security;
alter table public.tasks enable row level security;
alter table public.task_dependencies enable row level security;
alter table public.task_counts enable row level security;
alter table public.limit_counts enable row level security;
alter table public.task_outbox enable row level security;
alter table public.task_run_times enable row level security;
alter table public.known_models enable row level security;
alter table public.results_to_share enable row level security;
alter table public.task_requests enable row level security;
alter table public.run_reports enable row level security;
alter table public.queue_settings enable row level security;
alter table public.archived_tasks enable row level security;
alter table public.provider_jobs enable row level security;
alter table public.provider_withdrawals enable row level security;
alter table public.provider_calls enable row level security;
alter table public.task_provider_costs enable row level security;
alter table public.unpaid_provider_costs enable row level security;
alter table public.provider_models enable row level security;

revoke all on public.task_types, public.task_tenants, public.task_slots, public.task_lanes,
  public.user_turns, public.project_slots, public.task_type_slots, public.turn_marks, public.tasks, public.task_dependencies,
  public.task_counts, public.limit_counts, public.task_outbox, public.task_run_times, public.known_models, public.results_to_share, public.task_requests, public.run_reports, public.queue_settings,
  public.archived_tasks, public.all_tasks, public.provider_jobs, public.provider_withdrawals,
  public.provider_calls, public.task_provider_costs, public.unpaid_provider_costs, public.provider_models, public.provider_margins
  from anon, authenticated, service_role;
revoke all on sequence public.task_turns from anon, authenticated, service_role;

grant select on public.task_types to anon, authenticated, service_role;
grant update (max_running_tasks, is_reusable, expected_seconds, allows_provider_loss) on public.task_types to service_role;
create policy task_types_select on public.task_types for select to anon, authenticated using (true);

-- Tasks change by functions: what clients write into the table themselves is turned into the same by triggers, so that
-- no row is without cover, lane or lease. Only these columns are looked at.
grant select on public.tasks to authenticated, service_role;
-- Sees no row, and no refusal either: older workers look for their tasks with the anonymous key, and go on when there
-- is none.
grant select on public.tasks to anon;
grant delete on public.tasks to service_role;
grant insert (id, project_id, task_type, params, status, dependant_on, priority, created_at)
  on public.tasks to authenticated, service_role;
grant update (status, updated_at) on public.tasks to authenticated;
grant update (status, updated_at, worker_id, attempts, error_message, error_details, output_location,
              generation_started_at, generation_processed_at) on public.tasks to service_role;
create policy tasks_select_own on public.tasks for select to authenticated
  using (user_id = (select auth.uid()));
create policy tasks_insert_own on public.tasks for insert to authenticated
  with check (user_id = (select auth.uid()));
create policy tasks_update_own on public.tasks for update to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

grant select on public.archived_tasks, public.all_tasks to authenticated, service_role;
create policy archived_tasks_select_own on public.archived_tasks for select to authenticated
  using (user_id = (select auth.uid()));

grant select, update on public.queue_settings to service_role;
grant select, insert, update, delete on public.known_models to service_role;
-- The operator's figures; no tenant reads them.
grant select, delete on public.unpaid_provider_costs to service_role;
grant select on public.provider_calls, public.task_provider_costs, public.provider_margins to service_role;
grant select, insert, update, delete on public.provider_models to service_role;
