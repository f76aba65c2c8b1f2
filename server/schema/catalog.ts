/** Runs one statement on a connection that is in a transaction; answers its rows. */
export type Ask = <Row extends object>(text: string) => Promise<Row[]>;

/** Something that SQL can make, and how it is. */
export interface Thing {
  /** What differs between two databases of one schema only when somebody changed it. */
  state: string;
  /** The same in words that PostgreSQL makes from its parse tree; another major version may word it otherwise. */
  text: string;
  /**
   * Statements that make the thing, or make it so when it is there; undefined where another thing makes it, and
   * where no statement is known.
   */
  make: string | undefined;
}

export type Catalog = Map<string, Thing>;

/** Schemas of PostgreSQL itself, and of extensions that keep their own. */
export const systemSchemas = `nspname in ('pg_catalog', 'information_schema') or nspname like 'pg\\_%'`;

/** What belongs to PostgreSQL itself or to an extension is not ours to compare. */
const ours = `
  extension_objects as (
    select classid, objid from pg_depend where deptype = 'e'
  ), schemas as (
    select oid, nspname, nspacl from pg_namespace
     where not (${systemSchemas})
       and (nspname = 'public' or oid not in (select objid from extension_objects where classid = 'pg_namespace'::regclass))
  ), relations as (
    select class.*, nspname, format('%s.%s', nspname, relname) as name, format('%I.%I', nspname, relname) as quoted
      from pg_class as class join schemas on schemas.oid = class.relnamespace
     where class.oid not in (select objid from extension_objects where classid = 'pg_class'::regclass)
  ), functions as (
    select proc.*, format('%s.%s(%s)', nspname, proname, pg_get_function_identity_arguments(proc.oid)) as name,
           format('%I.%I(%s)', nspname, proname, pg_get_function_identity_arguments(proc.oid)) as quoted
      from pg_proc as proc join schemas on schemas.oid = proc.pronamespace
     where proc.prokind in ('f', 'p') and proc.oid not in (select objid from extension_objects where classid = 'pg_proc'::regclass)
  ), types as (
    select typ.*, format('%s.%s', nspname, typname) as name, format('%I.%I', nspname, typname) as quoted
      from pg_type as typ join schemas on schemas.oid = typ.typnamespace
     where typtype in ('e', 'd', 'r') and typ.oid not in (select objid from extension_objects where classid = 'pg_type'::regclass)
  )`;

/**
 * Who may do what: one row for each object and role. A null ACL means what PostgreSQL grants by default. The
 * owner's own rights are left out: they follow from owning, and owners have other names elsewhere.
 */
const grants = (kind: string, from: string, on = kind) => `
  select format('grant ${kind} %s to %s', name, coalesce(nullif(grantee, 0)::regrole::text, 'public')),
         string_agg(privilege_type || case when is_grantable then ' with grant option' else '' end, ', '
                    order by privilege_type),
         '',
         string_agg(format('grant %s${kind === "column" ? " (%I)" : "%s"} on ${on} %s to %s%s', privilege_type, part, quoted,
                           coalesce(nullif(grantee, 0)::regrole::text, 'public'),
                           case when is_grantable then ' with grant option' else '' end), '; ' order by privilege_type)
    from (${from}) as object (name, quoted, part, acl, owner), aclexplode(acl)
   where grantee <> owner group by name, grantee`;

/** Each query answers thing, state, text and make. The order of columns is left out: a migration can only add at the end. */
const queries: string[] = [
  `select 'schema ' || nspname, '', '', format('create schema if not exists %I', nspname) from schemas`,
  `select 'extension ' || extname, '', '',
          format('create schema if not exists %I; create extension if not exists %I with schema %1$I', nspname, extname)
     from pg_extension join pg_namespace on pg_namespace.oid = extnamespace where extname <> 'plpgsql'`,
  `select 'type ' || name,
          coalesce((select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_enum where enumtypid = types.oid), ''),
          '',
          case typtype when 'e' then
            format('create type %s as enum (%s)', quoted,
                   (select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_enum where enumtypid = types.oid))
          when 'd' then format('create domain %s as %s%s%s', quoted, format_type(typbasetype, typtypmod), ' default ' || typdefault,
                               case when typnotnull then ' not null' else '' end) end
     from types`,
  `select format('constraint %s %s', types.name, conname), '', pg_get_constraintdef(con.oid),
          format('alter domain %s drop constraint if exists %I; alter domain %1$s add constraint %2$I %3$s', quoted, conname,
                 pg_get_constraintdef(con.oid))
     from pg_constraint as con join types on types.oid = con.contypid where contype = 'c'`,
  `select 'sequence ' || relations.name, (to_jsonb(seq) - 'seqrelid')::text, '',
          case when not exists (select from pg_depend where objid = relations.oid and classid = 'pg_class'::regclass and deptype = 'i')
               then format('create sequence %s as %s increment %s minvalue %s maxvalue %s start %s cache %s%s', quoted, seqtypid,
                           seqincrement, seqmin, seqmax, seqstart, seqcache, case when seqcycle then ' cycle' else '' end) end
     from relations join (select seqrelid, seqtypid::regtype::text, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle
                            from pg_sequence) as seq on seq.seqrelid = relations.oid`,
  `select 'table ' || name,
          format('persistence %s, row level security %s, forced %s, replica identity %s, options %s',
                 relpersistence, relrowsecurity, relforcerowsecurity, relreplident, reloptions),
          '',
          concat_ws('; ',
            format('create%s table if not exists %s ()', case relpersistence when 'u' then ' unlogged' else '' end, quoted),
            format('alter table %s %s row level security', quoted, case when relrowsecurity then 'enable' else 'disable' end),
            format('alter table %s %s row level security', quoted, case when relforcerowsecurity then 'force' else 'no force' end),
            case relreplident when 'f' then format('alter table %s replica identity full', quoted)
                              when 'n' then format('alter table %s replica identity nothing', quoted) end,
            'alter table ' || quoted || ' set (' || nullif(array_to_string(reloptions, ', '), '') || ')')
     from relations where relkind = 'r'`,
  `select 'type ' || name, '', '', format('create type %s as ()', quoted) from relations where relkind = 'c'`,
  // Bodies are kept as they were written, so a function is the same in every version.
  `select 'function ' || name,
          format('%s, %s, language %s, returns %s, %s%s%s%s%s, settings %s%s', md5(coalesce(prosrc, '') || coalesce(probin, '')),
                 case when prosecdef then 'definer' else 'invoker' end, lanname, pg_get_function_result(functions.oid),
                 provolatile, proparallel, case when proisstrict then ' strict' else '' end,
                 case when proleakproof then ' leakproof' else '' end, case when proretset then ' set' else '' end,
                 proconfig, case when proacl is null then ', executable by public' else '' end),
          md5(pg_get_functiondef(functions.oid)),
          pg_get_functiondef(functions.oid) ||
            case when proacl is null or exists (select from aclexplode(proacl) where grantee = 0) then ''
                 else format('; revoke all on routine %s from public', quoted) end
     from functions join pg_language on pg_language.oid = prolang`,
  `select format('column %s.%s', relations.name, attname),
          format('%s%s%s%s', format_type(atttypid, atttypmod), case when attnotnull then ' not null' else '' end,
                 ' identity ' || nullif(attidentity::text, ''), ' generated ' || nullif(attgenerated::text, '')),
          coalesce(pg_get_expr(adbin, adrelid), ''),
          case when relkind = 'c' then format('alter type %s add attribute %I %s', quoted, attname, format_type(atttypid, atttypmod))
               when relkind = 'r' then concat_ws('; ',
                 format('alter table %s add column if not exists %I %s%s%s', quoted, attname, format_type(atttypid, atttypmod),
                        (select format(' collate %I.%I', nspname, collname) from pg_collation join pg_namespace on pg_namespace.oid = collnamespace
                          where pg_collation.oid = attcollation and collname <> 'default'),
                        case when attgenerated = 's' then format(' generated always as (%s) stored', pg_get_expr(adbin, adrelid))
                             when attidentity = 'a' then ' generated always as identity'
                             when attidentity = 'd' then ' generated by default as identity' end),
                 case when attnotnull then format('alter table %s alter column %I set not null', quoted, attname)
                      when attidentity = '' then format('alter table %s alter column %I drop not null', quoted, attname) end,
                 case when attgenerated = '' and attidentity = '' then
                   format('alter table %s alter column %I %s', quoted, attname,
                          coalesce('set default ' || pg_get_expr(adbin, adrelid), 'drop default')) end) end
     from relations join pg_attribute on attrelid = relations.oid
     left join pg_attrdef on adrelid = relations.oid and adnum = attnum
    where relkind in ('r', 'v', 'm', 'c') and attnum > 0 and not attisdropped order by relations.oid, attnum`,
  `select format('owned sequence %s by %s.%s', relations.name, refobjid::regclass, attname), '', '',
          format('alter sequence %s owned by %s.%I', quoted, refobjid::regclass, attname)
     from relations join pg_depend on objid = relations.oid and classid = 'pg_class'::regclass and deptype = 'a'
     join pg_attribute on attrelid = refobjid and attnum = refobjsubid where relkind = 'S'`,
  // Keys first: foreign keys refer to them. PostgreSQL 18 also lists "not null", which columns tell already.
  `select format('constraint %s %s', relations.name, conname),
          concat(case when convalidated then '' else ' not validated' end), pg_get_constraintdef(con.oid),
          format('alter table %s drop constraint if exists %I; alter table %1$s add constraint %2$I %3$s', quoted, conname,
                 pg_get_constraintdef(con.oid))
     from pg_constraint as con join relations on relations.oid = con.conrelid
    where contype in ('p', 'u', 'c', 'x', 'f') order by contype = 'f', contype = 'c', relations.oid, con.oid`,
  `select 'index ' || relations.name, case when indisvalid then '' else ' not valid' end, pg_get_indexdef(relations.oid),
          case when not exists (select from pg_constraint where conindid = relations.oid and contype in ('p', 'u', 'x'))
               then format('drop index if exists %s; %s', quoted, pg_get_indexdef(relations.oid)) end
     from relations join pg_index on pg_index.indexrelid = relations.oid
    where indrelid in (select oid from relations where relkind in ('r', 'm'))`,
  `select format('statistics %s.%s', nspname, stxname), '', pg_get_statisticsobjdef(pg_statistic_ext.oid),
          format('drop statistics if exists %I.%I; %s', nspname, stxname, pg_get_statisticsobjdef(pg_statistic_ext.oid))
     from pg_statistic_ext join schemas on schemas.oid = stxnamespace`,
  `select 'view ' || name, format('options %s', reloptions), pg_get_viewdef(oid),
          format(case relkind when 'v' then 'create or replace view %s%s as %s' else 'create materialized view if not exists %s%s as %s' end,
                 quoted, ' with (' || nullif(array_to_string(reloptions, ', '), '') || ')', pg_get_viewdef(oid))
     from relations where relkind in ('v', 'm') order by oid`,
  `select format('trigger %s %s', relations.name, tgname), format('enabled: %s', tgenabled), pg_get_triggerdef(trig.oid),
          concat_ws('; ', format('drop trigger if exists %I on %s; %s', tgname, quoted, pg_get_triggerdef(trig.oid)),
            case tgenabled when 'D' then format('alter table %s disable trigger %I', quoted, tgname)
                           when 'A' then format('alter table %s enable always trigger %I', quoted, tgname)
                           when 'R' then format('alter table %s enable replica trigger %I', quoted, tgname) end)
     from pg_trigger as trig join relations on relations.oid = trig.tgrelid where not tgisinternal order by trig.oid`,
  `select format('policy %s.%s %s', schemaname, tablename, policyname), format('%s for %s to %s', permissive, cmd, roles),
          format('using (%s) with check (%s)', qual, with_check),
          format('drop policy if exists %I on %I.%I; create policy %1$I on %2$I.%3$I as %4$s for %5$s to %6$s%7$s%8$s',
                 policyname, schemaname, tablename, permissive, cmd,
                 (select string_agg(case role when 'public' then role else quote_ident(role) end, ', ') from unnest(roles) as role),
                 ' using (' || qual || ')', ' with check (' || with_check || ')')
     from pg_policies where schemaname in (select nspname from schemas)`,
  grants(
    "schema",
    `select nspname, quote_ident(nspname), '', nspacl, (select nspowner from pg_namespace as space where space.oid = schemas.oid) from schemas`,
  ),
  grants("type", `select name, quoted, '', coalesce(typacl, acldefault('T', typowner)), typowner from types`),
  grants(
    "table",
    `select name, quoted, '', coalesce(relacl, acldefault('r', relowner)), relowner from relations where relkind in ('r', 'v', 'm')`,
  ),
  grants(
    "sequence",
    `select name, quoted, '', coalesce(relacl, acldefault('s', relowner)), relowner from relations where relkind = 'S'`,
  ),
  grants(
    "column",
    `select relations.name || '.' || attname, quoted, attname, attacl, relowner from relations
       join pg_attribute on attrelid = relations.oid where attacl is not null`,
    "table",
  ),
  grants(
    "function",
    `select name, quoted, '', coalesce(proacl, acldefault('f', proowner)), proowner from functions`,
    "routine",
  ),
  `select format('default privileges of %s for %s in %s', defaclrole::regrole, defaclobjtype, defaclnamespace::regnamespace),
          array_to_string(defaclacl, ', '), '', null from pg_default_acl`,
  `select format('publication %s', pubname), format('all tables %s: %s', puballtables, actions), '',
          format('create publication %I%s with (publish = %L)', pubname, case when puballtables then ' for all tables' else '' end, actions)
     from pg_publication, concat_ws(', ', case when pubinsert then 'insert' end, case when pubupdate then 'update' end,
                    case when pubdelete then 'delete' end, case when pubtruncate then 'truncate' end) as actions`,
  `select format('published %s.%s in %s', schemaname, tablename, pubname), array_to_string(attnames, ', '), coalesce(rowfilter, ''),
          format('alter publication %I add table only %I.%I%s', pubname, schemaname, tablename, ' where (' || rowfilter || ')')
     from pg_publication_tables where pubname not in (select pubname from pg_publication where puballtables)`,
];

/** Kinds that no statement of `queries` makes: `backup` names them rather than lose them. */
const beyond = `
  select 'table ' || name, case relkind when 'p' then 'is partitioned' else 'is a foreign table' end
    from relations where relkind in ('p', 'f')
  union all
  select 'table ' || name, 'inherits from another table' from relations where oid in (select inhrelid from pg_inherits)
     and relkind = 'r'
  union all
  select 'type ' || name, 'is a range type' from types where typtype = 'r'
  union all
  select format('function %s.%s', nspname, proname), 'is an aggregate or window function'
    from pg_proc join schemas on schemas.oid = pronamespace
   where prokind in ('a', 'w') and pg_proc.oid not in (select objid from extension_objects)
  union all
  select format('rule %s on %s', rulename, name), 'is a rule' from pg_rewrite join relations on relations.oid = ev_class
   where rulename <> '_RETURN'
  union all
  select format('operator %s', oprname), 'is an operator' from pg_operator join schemas on schemas.oid = oprnamespace
   where pg_operator.oid not in (select objid from extension_objects)
  union all
  select format('collation %s', collname), 'is a collation' from pg_collation join schemas on schemas.oid = collnamespace
   where pg_collation.oid not in (select objid from extension_objects)
  union all
  select format('text search configuration %s', cfgname), 'is a text search configuration'
    from pg_ts_config join schemas on schemas.oid = cfgnamespace
  union all
  select 'large objects', 'are not in tables' where exists (select from pg_largeobject_metadata)`;

/**
 * Everything in a database that SQL can make, in an order in which it can be made. Owners and comments are left out:
 * they change nothing.
 */
export async function readCatalog(ask: Ask): Promise<Catalog> {
  await qualifyNames(ask);
  const catalog: Catalog = new Map();
  for (const query of queries) {
    const rows = await ask<{ thing: string; state: string | null; text: string | null; make: string | null }>(
      `with ${ours} select thing, state, text, make from (${query}) as found (thing, state, text, make)`,
    );
    for (const { thing, state, text, make } of rows) {
      catalog.set(thing, { state: state ?? "", text: text ?? "", make: make ?? undefined });
    }
  }
  return catalog;
}

/** What is in a database that no statement here can make, each with the reason. */
export async function beyondCatalog(ask: Ask): Promise<{ thing: string; reason: string }[]> {
  await qualifyNames(ask);
  return await ask(`with ${ours} select thing, reason from (${beyond}) as found (thing, reason)`);
}

/** For the transaction: names come with their schema, whatever the session's search path is. */
async function qualifyNames(ask: Ask): Promise<void> {
  await ask("select set_config('search_path', 'pg_catalog', true)");
}
