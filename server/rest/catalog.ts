import type { Sql } from "postgres";

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
}

export interface Argument {
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
}

/** What `public` exposes: the only source of identifiers in SQL that is made from requests. */
export interface Catalog {
  relations: Map<string, Relation>;
  /** Overloads under their name. */
  routines: Map<string, Routine[]>;
  /** Types that a cast may name, by every spelling of theirs. */
  types: Map<string, string>;
}

export interface CatalogCache {
  current(): Promise<Catalog>;
  /** A catalog younger than this one, or undefined when it was loaded too lately to have changed. */
  fresherThan(catalog: Catalog): Promise<Catalog | undefined>;
}

const shortestRefreshMilliseconds = 1_000;

/** Loads when first asked, and again when something unknown is asked for: at most once a second. */
export function createCatalogCache(sql: Sql, now: () => number = Date.now): CatalogCache {
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
  };
}

interface RelationRow {
  name: string;
  columns: Column[];
  primary_key: string[];
}

interface RoutineRow {
  name: string;
  arguments: { name: string | null; type: string; mode: string }[];
  default_count: number;
  returns_set: boolean;
  returns: "void" | "row" | "value";
  row_columns: Column[];
}

export async function loadCatalog(sql: Sql): Promise<Catalog> {
  const [, relations, routines, types] = await sql.begin("read only", (transaction) => [
    // With nothing on the path, types are spelled with their schema: right wherever they are used.
    transaction`select set_config('search_path', '', true)`,
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
             ), '[]') as primary_key
        from pg_class as class
       where class.relnamespace = 'public'::regnamespace
         and class.relkind in ('r', 'v', 'm', 'f', 'p') and not class.relispartition`,
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
             ), '[]') as row_columns
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
  ]);

  return {
    relations: new Map(
      relations.map(({ name, columns, primary_key: primaryKey }) => [
        name,
        { name, columns: columnsByName(columns), primaryKey },
      ]),
    ),
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

/** None for a function that cannot be called by named arguments. */
function routineOf(row: RoutineRow): Routine[] {
  const inputs = row.arguments.filter(({ mode }) => ["i", "b", "v"].includes(mode));
  const outputs = row.arguments.filter(({ mode }) => ["o", "b", "t"].includes(mode));
  const named: Argument[] = [];
  for (const [index, { name, type, mode }] of inputs.entries()) {
    if (name === null) return [];
    const required = index < inputs.length - row.default_count;
    named.push({ name, type, required, variadic: mode === "v" });
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
    },
  ];
}
