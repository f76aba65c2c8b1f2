import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { type ForeignKey, type Relationship, relationshipsOf } from "./relationships.ts";

export interface Column {
  name: string;
  /** As SQL spells it, with its schema where it needs one. */
  type: string;
  /** SQL text of its default; a column whose value is always computed has none. */
  default: string | null;
}

export interface Relation {
  name: string;
  columns: Map<string, Column>;
  primaryKey: string[];
  /** What PostgreSQL can do to its rows; of many views, nothing. */
  writes: { insert: boolean; update: boolean; delete: boolean };
}

export interface Argument {
  /** Empty for the only argument of a function that takes the body as it is. */
  name: string;
  type: string;
  required: boolean;
  variadic: boolean;
}

export interface Routine {
  name: string;
  arguments: Argument[];
  returnsSet: boolean;
  returns: "void" | "row" | "value";
  /** Columns of the rows it returns. */
  columns: Map<string, Column>;
  /** The table whose rows these are: what may be embedded in them. */
  relation: string | undefined;
}

/** What `public` exposes: the only source of identifiers in SQL that is made from requests. */
export interface Catalog {
  relations: Map<string, Relation>;
  /** Under the name of the table they start from. */
  relationships: Map<string, Relationship[]>;
  /** Overloads under their name. */
  routines: Map<string, Routine[]>;
  /** Types that a cast may name, by every spelling of theirs. */
  types: Map<string, string>;
}

export interface CatalogCache {
  current(): Promise<Catalog>;
  /** A catalog younger than this one, or undefined when it was loaded too lately to have changed. */
  fresherThan(catalog: Catalog): Promise<Catalog | undefined>;
  /** The next request loads it again. */
  forget(): void;
}

const shortestRefreshMilliseconds = 1_000;

/** Loads when first asked, and again when something unknown is asked for: at most once a second. */
export function createCatalogCache(sql: Pool, now: () => number = Date.now): CatalogCache {
  let loading: Promise<Catalog> | undefined;
  let startedAt = 0;

  function load(): Promise<Catalog> {
    startedAt = now();
    const catalog = loadCatalog(sql);
    loading = catalog;
    catalog.catch(() => {
      // The next request tries again.
      if (loading === catalog) loading = undefined;
    });
    return catalog;
  }

  return {
    current: () => loading ?? load(),
    async fresherThan(catalog) {
      const known = await loading;
      if (known && known !== catalog) return known;
      if (now() - startedAt < shortestRefreshMilliseconds) return undefined;
      return await load();
    },
    forget() {
      loading = undefined;
    },
  };
}

interface RelationRow {
  name: string;
  columns: Column[];
  primary_key: string[];
  /** Bits of what can be written: 4 update, 8 insert, 16 delete. */
  writes: number;
}

interface RoutineRow {
  name: string;
  arguments: { name: string | null; type: string; mode: string }[];
  default_count: number;
  returns_set: boolean;
  returns: "void" | "row" | "value";
  row_columns: Column[];
  relation: string | null;
}

interface ForeignKeyRow {
  constraint: string;
  origin: string;
  origin_columns: string[];
  target: string;
  target_columns: string[];
  is_unique: boolean;
}

export async function loadCatalog(sql: Pool): Promise<Catalog> {
  // With nothing on the path, types are spelled with their schema: right wherever they are used.
  const begin = "begin read only; set local search_path to ''";
  const [relations, foreignKeys, routines, types] = await sql.transaction(
    (transaction) =>
      Promise.all([
        transaction<RelationRow[]>`
      select class.relname as name,
             coalesce((
               select json_agg(json_build_object(
                        'name', attribute.attname,
                        'type', format_type(attribute.atttypid, -1),
                        'default', case when attribute.attgenerated = ''
                                        then pg_get_expr(definition.adbin, definition.adrelid) end)
                      order by attribute.attnum)
                 from pg_attribute as attribute
                 left join pg_attrdef as definition
                   on definition.adrelid = attribute.attrelid and definition.adnum = attribute.attnum
                where attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
             ), '[]') as columns,
             coalesce((
               select json_agg(attribute.attname order by key.position)
                 from pg_index as index
                 cross join unnest(index.indkey) with ordinality as key (attnum, position)
                 join pg_attribute as attribute
                   on attribute.attrelid = class.oid and attribute.attnum = key.attnum
                where index.indrelid = class.oid and index.indisprimary
             ), '[]') as primary_key,
             pg_relation_is_updatable(class.oid, true) as writes
        from pg_class as class
       where class.relnamespace = 'public'::regnamespace
         and class.relkind in ('r', 'v', 'm', 'f', 'p') and not class.relispartition`,
        transaction<ForeignKeyRow[]>`
      select key.conname as constraint,
             origin.relname as origin,
             (select json_agg(attribute.attname order by part.position)
                from unnest(key.conkey) with ordinality as part (attnum, position)
                join pg_attribute as attribute
                  on attribute.attrelid = key.conrelid and attribute.attnum = part.attnum) as origin_columns,
             target.relname as target,
             (select json_agg(attribute.attname order by part.position)
                from unnest(key.confkey) with ordinality as part (attnum, position)
                join pg_attribute as attribute
                  on attribute.attrelid = key.confrelid and attribute.attnum = part.attnum) as target_columns,
             exists (
               select from pg_constraint as other
                where other.conrelid = key.conrelid and other.contype in ('p', 'u')
                  and other.conkey @> key.conkey and other.conkey <@ key.conkey
             ) as is_unique
        from pg_constraint as key
        join pg_class as origin on origin.oid = key.conrelid
        join pg_class as target on target.oid = key.confrelid
       where key.contype = 'f' and key.conparentid = 0
         and origin.relnamespace = 'public'::regnamespace and target.relnamespace = 'public'::regnamespace
       order by origin.relname, key.conname`,
        transaction<RoutineRow[]>`
      select routine.proname as name,
             coalesce((
               select json_agg(json_build_object(
                        'name', nullif(routine.proargnames[argument.position], ''),
                        'type', format_type(argument.type, -1),
                        'mode', coalesce(routine.proargmodes[argument.position]::text, 'i'))
                      order by argument.position)
                 from unnest(coalesce(routine.proallargtypes, routine.proargtypes::oid[]))
                      with ordinality as argument (type, position)
             ), '[]') as arguments,
             routine.pronargdefaults as default_count,
             routine.proretset as returns_set,
             case when routine.prorettype = 'void'::regtype then 'void'
                  when type.typtype = 'c' or routine.prorettype = 'record'::regtype
                       or routine.proargmodes && array['o', 'b', 't']::"char"[] then 'row'
                  else 'value' end as returns,
             coalesce((
               select json_agg(json_build_object(
                        'name', attribute.attname,
                        'type', format_type(attribute.atttypid, -1),
                        'default', null)
                      order by attribute.attnum)
                 from pg_attribute as attribute
                where type.typtype = 'c' and attribute.attrelid = type.typrelid
                  and attribute.attnum > 0 and not attribute.attisdropped
             ), '[]') as row_columns,
             (select class.relname
                from pg_class as class
               where class.oid = type.typrelid and class.relkind <> 'c'
                 and class.relnamespace = 'public'::regnamespace) as relation
        from pg_proc as routine
        join pg_type as type on type.oid = routine.prorettype
       where routine.pronamespace = 'public'::regnamespace and routine.prokind = 'f'
         and routine.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)`,
        transaction<{ name: string; spelling: string }[]>`
      select type.typname as name, format_type(type.oid, -1) as spelling
        from pg_type as type
        join pg_namespace as namespace on namespace.oid = type.typnamespace
       where namespace.nspname in ('pg_catalog', 'public', 'extensions')
         and type.typtype in ('b', 'd', 'e', 'r', 'm') and type.typcategory <> 'A'
       -- The last one of a name wins, and nothing may pass for a type of PostgreSQL's own.
       order by namespace.nspname = 'pg_catalog'`,
      ]),
    { begin },
  );

  const relationsByName = new Map<string, Relation>(
    relations.map(({ name, columns, primary_key: primaryKey, writes }) => [
      name,
      {
        name,
        columns: columnsByName(columns),
        primaryKey,
        writes: { update: (writes & 4) !== 0, insert: (writes & 8) !== 0, delete: (writes & 16) !== 0 },
      },
    ]),
  );
  return {
    relations: relationsByName,
    relationships: relationshipsOf(foreignKeys.map(foreignKeyOf), relationsByName),
    routines: routinesByName(routines.flatMap(routineOf)),
    types: new Map(
      types.flatMap(({ name, spelling }) => [
        [name, spelling],
        [spelling, spelling],
      ]),
    ),
  };
}

function columnsByName(columns: Column[]): Map<string, Column> {
  return new Map(columns.map((column) => [column.name, column]));
}

function routinesByName(routines: Routine[]): Map<string, Routine[]> {
  const byName = new Map<string, Routine[]>();
  for (const routine of routines) {
    const overloads = byName.get(routine.name);
    if (overloads) overloads.push(routine);
    else byName.set(routine.name, [routine]);
  }
  return byName;
}

function foreignKeyOf(row: ForeignKeyRow): ForeignKey {
  return {
    constraint: row.constraint,
    origin: row.origin,
    target: row.target,
    columns: row.origin_columns.map((own, index) => ({ own, other: row.target_columns[index] ?? "" })),
    isUnique: row.is_unique,
  };
}

/** None for a function that can be called neither by named arguments nor with the body alone. */
function routineOf(row: RoutineRow): Routine[] {
  const inputs = row.arguments.filter(({ mode }) => ["i", "b", "v"].includes(mode));
  const outputs = row.arguments.filter(({ mode }) => ["o", "b", "t"].includes(mode));
  const named: Argument[] = [];
  for (const [index, { name, type, mode }] of inputs.entries()) {
    if (name === null && inputs.length > 1) return [];
    const required = index < inputs.length - row.default_count;
    named.push({ name: name ?? "", type, required, variadic: mode === "v" });
  }
  const outputColumns = outputs.map(({ name, type }, index) => ({
    name: name ?? `column${index + 1}`,
    type,
    default: null,
  }));
  return [
    {
      name: row.name,
      arguments: named,
      returnsSet: row.returns_set,
      returns: row.returns,
      columns: columnsByName(outputs.length > 0 ? outputColumns : row.row_columns),
      relation: row.relation ?? undefined,
    },
  ];
}
