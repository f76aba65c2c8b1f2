create trigger broadcast_task_insert after insert on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_task_update after update on public.tasks
  for each row when (
    old.status is distinct from new.status
    or old.progress_shown_at is distinct from new.progress_shown_at
    or (new.status = 'Complete' and old.output_location is distinct from new.output_location))
  execute function public.broadcast_task_update();
create trigger broadcast_balance after update on public.credit_accounts
  for each row when (
    old.balance_microusd is distinct from new.balance_microusd
    or old.held_microusd is distinct from new.held_microusd)
  execute function public.broadcast_balance();
create trigger broadcast_generation after insert on public.generation_variants
  for each row execute function public.broadcast_generation();
