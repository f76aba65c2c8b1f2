-- The roles that Supabase brings. They belong to the server, not to the database, so a dump does not contain them and
-- another database may have made them: every start checks them and runs this file when something is missing.
do $$
declare
  wanted record;
  may_act text := 'MEMBER';
begin
  -- From PostgreSQL 16 on, a member needs the option SET to act as a role.
  if current_setting('server_version_num')::int >= 160000 then
    may_act := 'SET';
  end if;
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
  if not (select rolbypassrls from pg_catalog.pg_roles where rolname = 'service_role') then
    alter role service_role bypassrls;
  end if;
  for wanted in select * from unnest(array['anon', 'authenticated', 'service_role']) as role(name) loop
    if not pg_has_role('authenticator', wanted.name, 'MEMBER') then
      execute format('grant %I to authenticator', wanted.name);
    end if;
    -- The owner of the database must be able to act as each of them. A superuser is.
    if not pg_has_role(current_user, wanted.name, may_act) then
      execute format('grant %I to %I', wanted.name, current_user);
    end if;
  end loop;
end
$$;
