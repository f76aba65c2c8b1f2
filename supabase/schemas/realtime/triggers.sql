create trigger broadcast_task_insert after insert on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_task_update after update of status, progress_shown_at, output_location on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_balance after update on public.credit_accounts
  for each row when (
    old.balance_microusd is distinct from new.balance_microusd
    or old.held_microusd is distinct from new.held_microusd)
  execute function public.broadcast_balance();
create trigger broadcast_generation after insert on public.generation_variants
  for each row execute function public.broadcast_generation();
