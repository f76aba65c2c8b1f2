create trigger broadcast_task_insert after insert on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_task_update after update of status, progress_shown_at, output_location on public.tasks
  for each row execute function public.broadcast_task_update();
create trigger broadcast_balance after update on public.credit_accounts
  for each row when (
    old.balance_microusd is distinct from new.balance_microusd
    or old.held_microusd is distinct from new.held_microusd)
  execute function public.broadcast_balance();
create trigger broadcast_generation after insert or delete on public.generation_variants
  for each row execute function public.broadcast_generation();
create trigger broadcast_primary_variant after update of is_primary on public.generation_variants
  for each row when (new.is_primary and not old.is_primary) execute function public.broadcast_generation();
create trigger broadcast_new_parent after insert on public.generations
  for each row when (new.location is null) execute function public.broadcast_generation_change();
create trigger broadcast_generation_change after update of name, starred, parent_generation_id, child_order on public.generations
  for each row when ((old.name, old.starred, old.parent_generation_id, old.child_order)
                     is distinct from (new.name, new.starred, new.parent_generation_id, new.child_order))
  execute function public.broadcast_generation_change();
create trigger broadcast_deleted_generation after delete on public.generations
  for each row execute function public.broadcast_generation_change();
