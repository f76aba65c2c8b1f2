create type public.task_status as enum ('Queued', 'In Progress', 'Complete', 'Failed', 'Cancelled');
