-- What a finished task's output became.
create type public.made_output as (generation_id uuid, variant_id uuid, warnings jsonb);
