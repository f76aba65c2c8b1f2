-- On Supabase, from pg_cron: calls a function of ours, without waiting for it. Its address and the key it is called
-- with are secrets of the vault; without them nothing happens.
create or replace function public.call_edge_function(function_name text)
returns void
language plpgsql set search_path = '' as $$
declare
  functions_url text;
  service_key text;
begin
  if to_regclass('vault.decrypted_secrets') is null then
    return;
  end if;
  execute 'select (select decrypted_secret from vault.decrypted_secrets where name = $1),
                  (select decrypted_secret from vault.decrypted_secrets where name = $2)'
     into functions_url, service_key using 'darkroom_functions_url', 'darkroom_service_key';
  if functions_url is null or service_key is null then
    return;
  end if;
  execute 'select net.http_post(url => $1, headers => $2, body => $3, timeout_milliseconds => 60000)'
    using rtrim(functions_url, '/') || '/' || function_name,
          -- Keys of the new kind are known in `apikey` alone, JWT keys in either.
          jsonb_build_object('content-type', 'application/json', 'apikey', service_key), '{}'::jsonb;
end
$$;
revoke all on function public.call_edge_function from public, anon, authenticated;
