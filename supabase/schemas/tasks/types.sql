create type public.task_status as enum ('Queued', 'In Progress', 'Complete', 'Failed', 'Cancelled');

-- Checks of one column are domains: PostgreSQL keeps those prepared, where it reads a table's checks anew for
-- every statement that writes a row.
create domain public.run_type as text check (value in ('gpu', 'api'));
create domain public.task_params as jsonb check (jsonb_typeof(value) = 'object');
create domain public.task_priority as smallint check (value between -100 and 100);
create domain public.task_progress as real check (value between 0 and 1);
create domain public.attempt_limit as integer check (value between 1 and 20);
create domain public.natural_number as integer check (value >= 0);
-- What of params a price depends on; read_billed_values() makes it.
create domain public.billed_values as jsonb check (
  jsonb_typeof(value) = 'object' and pg_column_size(value) <= 4096
  and value - array['images', 'frames', 'gap_frames', 'context_frames', 'seconds', 'megapixels', 'scale', 'resolution', 'model',
                   'model_type'] = '{}'
  and not jsonb_path_exists(
    value, '$.keyvalue() ? (@.key like_regex "^(images|frames|gap_frames|context_frames|seconds|megapixels|scale)$" && @.value.type() <> "number")')
  and not jsonb_path_exists(
    value, '$.keyvalue() ? (@.key like_regex "^(resolution|model|model_type)$" && @.value.type() <> "string")'));
-- What could not be done of what a task asked, as its worker says.
create domain public.output_warnings as text[] check (
  cardinality(value) <= 20 and array_position(value, null) is null and length(array_to_string(value, '')) <= 10000);
-- How much of each unit a provider bills for a job, at most, and the variant that decides the price of one.
create domain public.billed_units as jsonb check (
  jsonb_typeof(value) = 'object' and value - array['images', 'megapixels', 'seconds', 'training_steps', 'variant'] = '{}'
  and jsonb_typeof(coalesce(value -> 'variant', '""')) = 'string' and length(value ->> 'variant') <= 100
  and not jsonb_path_exists(value - 'variant', '$.* ? (@.type() <> "number" || @ < 0 || @ > 1000000000)'));
create domain public.slot_number as smallint check (value between 1 and 5);
