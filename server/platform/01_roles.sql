-- The roles that Supabase brings. They belong to the whole server, so another database may have made them.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('anon', 'nologin noinherit'),
      ('authenticated', 'nologin noinherit'),
      ('service_role', 'nologin noinherit bypassrls'),
      -- Has no password, so nobody can log in as it until an operator gives it one.
      ('authenticator', 'login noinherit')
    ) as role(name, attributes)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      begin
        execute format('create role %I %s', wanted.name, wanted.attributes);
      exception when duplicate_object or unique_violation then
        null; -- Made meanwhile by a host that starts on another database of this server.
      end;
    end if;
  end loop;
  grant anon, authenticated, service_role to authenticator;
  -- Whoever owns the database must be able to act as each of them, superuser or not.
  if not (select rolsuper from pg_catalog.pg_roles where rolname = current_user) then
    execute format('grant anon, authenticated, service_role to %I', current_user);
  end if;
end
$$;

-- Nothing is granted by default: neither tables (as Supabase since 2026-10-30) nor the right to create.
revoke create on schema public from public;
grant usage on schema public to anon, authenticated, service_role;

create schema if not exists extensions;
grant usage on schema extensions to anon, authenticated, service_role;

create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (
  version text primary key,
  statements text[],
  name text
);
