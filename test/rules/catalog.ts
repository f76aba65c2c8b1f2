import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";

/** Whatever belongs to PostgreSQL itself or to an extension is not ours to compare. */
const ours = `
  schemas as (
    select oid, nspname from pg_namespace
     where nspname not in ('pg_catalog', 'information_schema', 'supabase_migrations') and nspname not like 'pg\\_%'
  ), extension_objects as (
    select objid from pg_depend where deptype = 'e'
  ), relations as (
    select class.*, format('%s.%s', schemas.nspname, class.relname) as name
      from pg_class as class join schemas on schemas.oid = class.relnamespace
     where class.oid not in (select objid from extension_objects)
  ), functions as (
    select proc.*, format('%s.%s(%s)', schemas.nspname, proc.proname, pg_get_function_identity_arguments(proc.oid)) as name
      from pg_proc as proc join schemas on schemas.oid = proc.pronamespace
     where proc.prokind in ('f', 'p') and proc.oid not in (select objid from extension_objects)
  )`;

/** Who may do what: one row for each object and role. A null ACL means what PostgreSQL grants by default. */
const grants = (kind: string, from: string) => `
  select format('grant ${kind} %s to %s', name, coalesce(nullif(grantee, 0)::regrole::text, 'public')),
         string_agg(privilege_type || case when is_grantable then ' with grant option' else '' end, ', '
                    order by privilege_type)
    from (${from}) as object (name, acl), aclexplode(acl) group by name, grantee`;

/**
 * Each query gives what a thing is and how it is. The order of columns is left out: a migration can only add
 * at the end. So are owners and comments, which change nothing.
 */
const queries = [
  `select 'schema ' || nspname, '' from schemas`,
  grants("schema", `select nspname, nspacl from pg_namespace where oid in (select oid from schemas)`),
  `select 'extension ' || extname, '' from pg_extension`,
  `select format('type %s.%s', schemas.nspname, typ.typname),
          (select string_agg(quote_literal(enumlabel), ', ' order by enumsortorder) from pg_enum where enumtypid = typ.oid)
     from pg_type as typ join schemas on schemas.oid = typ.typnamespace
    where typ.typtype in ('e', 'd', 'r') and typ.oid not in (select objid from extension_objects)`,
  grants(
    "type",
    `select format('%s.%s', typnamespace::regnamespace, typname), coalesce(typacl, acldefault('T', typowner)) from pg_type
                   where typnamespace in (select oid from schemas) and typtype in ('e', 'd', 'r')`,
  ),
  `select 'table ' || name,
          format('persistence %s, row level security %s, forced %s, replica identity %s, options %s',
                 relpersistence, relrowsecurity, relforcerowsecurity, relreplident, reloptions)
     from relations where relkind in ('r', 'p')`,
  `select 'view ' || name, format('options %s: %s', reloptions, pg_get_viewdef(oid))
     from relations where relkind in ('v', 'm')`,
  `select format('column %s.%s', relations.name, attribute.attname),
          format('%s%s%s%s%s', format_type(attribute.atttypid, attribute.atttypmod),
                 case when attribute.attnotnull then ' not null' else '' end,
                 ' identity ' || nullif(attribute.attidentity::text, ''),
                 ' generated ' || nullif(attribute.attgenerated::text, ''),
                 ' default ' || pg_get_expr(value.adbin, value.adrelid))
     from relations join pg_attribute as attribute on attribute.attrelid = relations.oid
     left join pg_attrdef as value on value.adrelid = relations.oid and value.adnum = attribute.attnum
    where relations.relkind in ('r', 'p', 'v', 'm', 'c') and attribute.attnum > 0 and not attribute.attisdropped`,
  `select format('constraint %s %s', relations.name, conname),
          pg_get_constraintdef(con.oid) || case when convalidated then '' else ' not validated' end
     from pg_constraint as con join relations on relations.oid = con.conrelid`,
  `select 'index ' || relations.name,
          pg_get_indexdef(relations.oid) || case when indisvalid then '' else ' not valid' end
     from relations join pg_index on pg_index.indexrelid = relations.oid`,
  `select 'sequence ' || relations.name, (to_jsonb(seq) - 'seqrelid')::text
     from relations join (select seqrelid, seqtypid::regtype::text, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle
                            from pg_sequence) as seq on seq.seqrelid = relations.oid`,
  `select 'function ' || name, pg_get_functiondef(oid) from functions`,
  `select format('trigger %s %s', relations.name, tgname), format('%s (enabled: %s)', pg_get_triggerdef(trig.oid), tgenabled)
     from pg_trigger as trig join relations on relations.oid = trig.tgrelid where not tgisinternal`,
  `select format('policy %s.%s %s', schemaname, tablename, policyname),
          format('%s for %s to %s using (%s) with check (%s)', permissive, cmd, roles, qual, with_check) from pg_policies`,
  grants(
    "table",
    `select name, coalesce(relacl, acldefault('r', relowner)) from relations where relkind in ('r', 'p', 'v', 'm')`,
  ),
  grants(
    "sequence",
    `select name, coalesce(relacl, acldefault('s', relowner)) from relations where relkind = 'S'`,
  ),
  grants(
    "column",
    `select relations.name || '.' || attname, attacl from relations
                      join pg_attribute on attrelid = relations.oid where attacl is not null`,
  ),
  grants("function", `select name, coalesce(proacl, acldefault('f', proowner)) from functions`),
  `select format('default privileges of %s for %s in %s', defaclrole::regrole, defaclobjtype, defaclnamespace::regnamespace),
          array_to_string(defaclacl, ', ') from pg_default_acl`,
  `select format('publication %s', pubname), format('all tables %s: %s', puballtables,
          concat_ws(', ', case when pubinsert then 'insert' end, case when pubupdate then 'update' end,
                    case when pubdelete then 'delete' end, case when pubtruncate then 'truncate' end)) from pg_publication`,
  `select format('published %s in %s', format('%s.%s', schemaname, tablename), pubname),
          format('(%s) %s', array_to_string(attnames, ', '), rowfilter) from pg_publication_tables`,
  // Data, but such that the code rests on it: it travels by migration, not by seed.
  `select 'bucket ' || id, format('public %s, at most %s, types %s', public, file_size_limit, allowed_mime_types)
     from storage.buckets`,
];

/** Everything in a database that SQL files can make: what it is → how it is. */
export async function catalog(sql: Sql): Promise<Map<string, string>> {
  const things = new Map<string, string>();
  for (const query of queries) {
    const rows = await sql.query<{ thing: string; state: string | null }[]>(
      `with ${ours} select thing, state from (${query}) as found (thing, state)`,
    );
    for (const { thing, state } of rows) things.set(thing, state ?? "");
  }
  return things;
}

/** What two catalogs do not share, a line or two each. */
export function differences(
  firstName: string,
  first: ReadonlyMap<string, string>,
  secondName: string,
  second: ReadonlyMap<string, string>,
): string[] {
  const things = [...new Set([...first.keys(), ...second.keys()])].sort();
  return things.flatMap((thing) => {
    const [one, other] = [first.get(thing), second.get(thing)];
    if (one === other) return [];
    if (other === undefined) return [`${thing}: only in the ${firstName}`];
    if (one === undefined) return [`${thing}: only in the ${secondName}`];
    const [left, right] = firstUnequalLines(one, other);
    return [`${thing}:\n    ${firstName}: ${left}\n    ${secondName}: ${right}`];
  });
}

/** Of a function's hundred lines, the first that differs. */
function firstUnequalLines(one: string, other: string): [string, string] {
  const [lines, others] = [one.split("\n"), other.split("\n")];
  const at = lines.findIndex((line, index) => line !== others[index]);
  const index = at === -1 ? lines.length : at;
  return [lines[index]?.trim() ?? "(ends here)", others[index]?.trim() ?? "(ends here)"];
}
