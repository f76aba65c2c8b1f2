import { answerOf, headOf, type Shape } from "./build-answer.ts";
import { ResourceBuilder, type RowSource } from "./build-resource.ts";
import type { Argument, Catalog, Column, Relation, Routine } from "./catalog.ts";
import { whereClause } from "./conditions.ts";
import type { Query, Resource } from "./query.ts";
import { RestError, unknownBodyColumn, unknownColumn } from "./rest-error.ts";
import { definitions, type Parameters, quoteIdentifier, type Statement, tableOf } from "./sql-text.ts";

/** More rows than these come in several pages; also of what is embedded in one row. */
export const maxRows = 1_000;

/** Where an upsert counts the rows that were there before. */
const mergedSetting = "darkroom.merged_rows";

export interface Inserted {
  /** The body, a JSON array of objects. */
  json: string;
  rows: Record<string, unknown>[];
  resolution: "merge" | "ignore" | undefined;
  /** Keys that a row lacks get the column's default, not null. */
  missingAsDefault: boolean;
}

export function buildRead(catalog: Catalog, relation: Relation, query: Query, shape: Shape): Statement {
  const builder = new ResourceBuilder(catalog, maxRows);
  const rows = rowsOf(relation, `${tableOf(relation.name)} as target`);
  const { page, matching } = builder.build(query, rows);
  return {
    text: answerOf(page, totalOf(matching, shape), shape, headFor(builder, query, rows, shape)),
    values: builder.parameters.values,
    ...estimateOf(catalog, query, rows, shape),
  };
}

export function buildInsert(
  catalog: Catalog,
  relation: Relation,
  query: Query,
  body: Inserted,
  shape: Shape,
): Statement {
  const builder = new ResourceBuilder(catalog, maxRows);
  const columns = bodyColumns(relation, query.columns, body);
  const into = `insert into ${tableOf(relation.name)} as target`;
  let insert: string;
  if (body.rows.length > 0 && columns.length === 0) {
    if (body.rows.length > 1)
      throw new RestError(400, "PGRST102", "Several rows without any column cannot be inserted");
    insert = `${into} default values`;
  } else if (columns.length === 0) {
    // An empty array inserts nothing, by a statement that asks for the same rights.
    const [first] = relation.columns.keys();
    insert = `${into} (${quoteIdentifier(first ?? "")}) select null where false`;
  } else {
    insert = `${into} ${rowsOfBody(columns, body, builder.parameters)}`;
  }
  insert += conflictClause(relation, query.onConflict, columns, body.resolution);
  return written(builder, (wanted) => `${insert} returning ${wanted}`, query, relation, shape);
}

/** `PUT`: the one row that the URL names by its primary key, whether it was there or not. */
export function buildPut(
  catalog: Catalog,
  relation: Relation,
  query: Query,
  body: Inserted,
  shape: Shape,
): Statement {
  requirePrimaryKey(query, relation);
  const builder = new ResourceBuilder(catalog, maxRows);
  const columns = bodyColumns(relation, query.columns, body);
  if (columns.length === 0)
    throw new RestError(400, "PGRST102", "The body must be one object with its columns");
  const where = whereClause(
    query.where,
    { name: relation.name, alias: "body", columns: relation.columns },
    builder.parameters,
  );
  const put =
    `insert into ${tableOf(relation.name)} as target ` +
    rowsOfBody(columns, body, builder.parameters, where) +
    conflictClause(relation, relation.primaryKey, columns, "merge");
  return written(builder, (wanted) => `${put} returning ${wanted}`, query, relation, shape);
}

export function buildUpdate(
  catalog: Catalog,
  relation: Relation,
  query: Query,
  body: Pick<Inserted, "json" | "rows" | "missingAsDefault">,
  shape: Shape,
): Statement {
  requireFilter(query, "UPDATE");
  const builder = new ResourceBuilder(catalog, maxRows);
  const { parameters } = builder;
  // Named by `columns=` but not in the body, a column gets its default all the same.
  const named = { ...body, missingAsDefault: false };
  const columns = body.rows.length === 0 ? [] : bodyColumns(relation, query.columns, named);
  if (columns.length === 0) {
    const none = (wanted: string) => `select ${wanted} from ${tableOf(relation.name)} as target where false`;
    return written(builder, none, query, relation, shape);
  }
  const assignments = columns.map(({ name }) => `${quoteIdentifier(name)} = body.${quoteIdentifier(name)}`);
  const json = jsonWithDefaults(columns, body, parameters);
  const update =
    `update ${tableOf(relation.name)} as target set ${assignments.join(", ")} ` +
    `from json_to_recordset(${json}) as body (${definitions(columns)})` +
    whereClause(query.where, rowsOf(relation, ""), parameters);
  return written(builder, (wanted) => `${update} returning ${wanted}`, query, relation, shape);
}

export function buildDelete(catalog: Catalog, relation: Relation, query: Query, shape: Shape): Statement {
  requireFilter(query, "DELETE");
  const builder = new ResourceBuilder(catalog, maxRows);
  const where = whereClause(query.where, rowsOf(relation, ""), builder.parameters);
  const from = `delete from ${tableOf(relation.name)} as target${where}`;
  return written(builder, (wanted) => `${from} returning ${wanted}`, query, relation, shape);
}

/** Arguments as the JSON object of a body, each as text, as URLs have them, or the whole body as the only one. */
export type CallArguments =
  | { kind: "json"; json: string; names: string[] }
  | { kind: "text"; values: Map<string, string[]> }
  | { kind: "body"; text: string };

export function buildCall(
  catalog: Catalog,
  routine: Routine,
  given: CallArguments,
  query: Query,
  shape: Shape,
): Statement {
  const builder = new ResourceBuilder(catalog, maxRows);
  const { parameters } = builder;
  const { list, from } = callArguments(routine, given, parameters);
  const call = `public.${quoteIdentifier(routine.name)}(${list})`;
  const sources = from === "" ? "" : ` from ${from}`;

  if (routine.returns === "row") {
    const called = `select target.* from ${from === "" ? "" : `${from}, `}${call} as target`;
    const rows: RowSource = {
      name: routine.relation ?? routine.name,
      alias: "target",
      columns: routine.columns,
      relation: routine.relation,
      from: "called as target",
    };
    const { page, matching } = builder.build(query, rows);
    const single = shape.single || !routine.returnsSet;
    const head = headFor(builder, query, rows, shape);
    // Counting its rows means calling it; then the number is exact.
    const total = shape.counted ? `select count(*) ${matching}` : "null";
    return {
      // Materialised: whatever is asked of its rows, the function runs once.
      text: `with called as materialized (${called}) ${answerOf(page, total, { ...shape, single }, head)}`,
      values: parameters.values,
    };
  }
  refuseRowQuery(query, routine);
  if (shape.csv) throw new RestError(406, "PGRST107", "None of these media types are available: text/csv");
  if (routine.returns === "void") {
    return {
      text: `with called as materialized (select ${call}${sources}) select null as body, count(*)::text as rows, null as total, null as merged from called`,
      values: parameters.values,
    };
  }
  if (routine.returnsSet) {
    const page = `select value from called${builder.limitClause(query)}`;
    const rows = shape.representation ? "coalesce(json_agg(page.value), '[]')::text" : "null";
    const total = shape.counted ? "(select count(*) from called)" : "null";
    return {
      text:
        `with called as materialized (select ${call} as value${sources}) ` +
        `select ${rows} as body, count(*)::text as rows, (${total})::text as total, null as merged from (${page}) as page`,
      values: parameters.values,
    };
  }
  return {
    text: `select coalesce(to_json(${call})::text, 'null') as body, '1' as rows, ${shape.counted ? "'1'" : "null"} as total, null as merged${sources}`,
    values: parameters.values,
  };
}

function callArguments(
  routine: Routine,
  given: CallArguments,
  parameters: Parameters,
): { list: string; from: string } {
  if (given.kind === "body") {
    return { list: parameters.typed(given.text, routine.arguments[0]?.type ?? "text"), from: "" };
  }
  if (given.kind === "text") {
    const list = routine.arguments.flatMap((argument) => {
      const values = given.values.get(argument.name);
      return values ? [named(argument, textArgument(argument, values, parameters))] : [];
    });
    return { list: list.join(", "), from: "" };
  }
  const used = routine.arguments.filter(({ name }) => given.names.includes(name));
  if (used.length === 0) return { list: "", from: "" };
  const list = used.map((argument) => named(argument, `arguments.${quoteIdentifier(argument.name)}`));
  const from = `json_to_record(${parameters.text(given.json)}::json) as arguments (${definitions(used)})`;
  return { list: list.join(", "), from };
}

/** Repeated, an argument is an array if the function takes any number of them; else the last one counts. */
function textArgument({ type, variadic }: Argument, values: string[], parameters: Parameters): string {
  if (variadic) {
    const element = type.replace(/\[\]$/, "");
    return `array[${values.map((value) => parameters.typed(value, element)).join(", ")}]::${type}`;
  }
  const value = values.at(-1) ?? "";
  // What a URL says is text, also where JSON is wanted.
  if (type === "json" || type === "jsonb") return `to_json(${parameters.text(value)})::${type}`;
  return parameters.typed(value, type);
}

function named({ name, variadic }: Argument, value: string): string {
  return `${variadic ? "variadic " : ""}${quoteIdentifier(name)} => ${value}`;
}

function refuseRowQuery({ select, where, order }: Query, { name }: Routine): void {
  const asksForAll = select.length === 1 && select[0]?.kind === "all";
  if (asksForAll && where.length === 0 && order.length === 0) return;
  const field = select.find((item) => item.kind === "field")?.field ?? order[0]?.field;
  const [condition] = where;
  const filtered = condition && condition.kind !== "group" ? condition.field : undefined;
  throw unknownColumn(name, (field ?? filtered)?.name ?? name);
}

/** A write as a statement that answers with what it wrote, in the order asked for. */
function written(
  builder: ResourceBuilder,
  write: (returning: string) => string,
  query: Query,
  relation: Relation,
  shape: Shape,
): Statement {
  const merged = `nullif(current_setting('${mergedSetting}', true), '')`;
  const { values } = builder.parameters;
  if (!shape.representation) {
    const answer = answerOf("select 1 from written", "count(*)", shape, { merged });
    return { text: `with written as (${write("1")}) ${answer}`, values };
  }
  const rows = rowsOf(relation, "written as target");
  // All of them or none: a page of what was written would hide the rest.
  const resource: Resource = { ...query, where: [], limit: undefined, offset: 0 };
  const needed = builder.needs(resource, relation);
  const { page } = builder.build(resource, rows);
  const returning =
    needed.length > 0 ? needed.map((name) => `target.${quoteIdentifier(name)}`).join(", ") : "1";
  const text =
    `with written as (${write(returning)}) ` +
    answerOf(page, "select count(*) from written", shape, {
      ...headFor(builder, resource, rows, shape),
      merged,
    });
  return { text, values };
}

function rowsOf({ name, columns }: Relation, from: string): RowSource {
  return { name, alias: "target", columns, relation: name, from };
}

function headFor(
  builder: ResourceBuilder,
  resource: Resource,
  rows: RowSource,
  { csv }: Shape,
): { head?: string } {
  return csv ? { head: builder.parameters.text(headOf(builder.names(resource, rows))) } : {};
}

function totalOf(matching: string, { counted }: Shape): string {
  switch (counted) {
    case "exact":
      return `select count(*) ${matching}`;
    case "estimated":
      // Few rows are counted; for more the planner's word is enough.
      return `select count(*) from (select ${matching} limit ${maxRows + 1}) as counted`;
    default:
      return "null";
  }
}

/** What the planner is to say how many rows it expects of; with its own parameters, for all must be used. */
function estimateOf(
  catalog: Catalog,
  query: Query,
  rows: RowSource,
  { counted }: Shape,
): Pick<Statement, "estimate"> {
  if (counted !== "planned" && counted !== "estimated") return {};
  const builder = new ResourceBuilder(catalog, maxRows);
  const select = query.select.filter(({ kind }) => kind === "embed");
  const { matching } = builder.build({ ...query, select, order: [], limit: undefined, offset: 0 }, rows);
  return {
    estimate: { text: `explain (format json) select 1 ${matching}`, values: builder.parameters.values },
  };
}

/** The columns that a body sets; without `columns=`, its rows must agree on them. */
function bodyColumns(
  relation: Relation,
  wanted: string[] | undefined,
  { rows, missingAsDefault }: Pick<Inserted, "rows" | "missingAsDefault">,
): Column[] {
  const present = new Set(rows.flatMap((row) => Object.keys(row)));
  if (wanted === undefined && rows.some((row) => Object.keys(row).length !== present.size)) {
    throw new RestError(400, "PGRST102", "All object keys must match");
  }
  const columns: Column[] = [];
  for (const name of new Set(wanted ?? present)) {
    const column = relation.columns.get(name);
    if (!column) throw unknownBodyColumn(relation.name, name);
    // What no row has gets its default by not being mentioned.
    if (missingAsDefault && !present.has(name)) continue;
    columns.push(column);
  }
  return columns;
}

/** `(a, b) select … from the body`, for an insert. */
function rowsOfBody(columns: Column[], body: Inserted, parameters: Parameters, where = ""): string {
  const names = columns.map(({ name }) => quoteIdentifier(name));
  const json = jsonWithDefaults(columns, body, parameters);
  return (
    `(${names.join(", ")}) select ${names.map((name) => `body.${name}`).join(", ")} ` +
    `from json_to_recordset(${json}) as body (${definitions(columns)})${where}`
  );
}

function jsonWithDefaults(
  columns: Column[],
  { json, rows, missingAsDefault }: Pick<Inserted, "json" | "rows" | "missingAsDefault">,
  parameters: Parameters,
): string {
  const body = parameters.text(json);
  const incomplete = columns.filter(
    (column) => column.default !== null && rows.some((row) => !Object.hasOwn(row, column.name)),
  );
  if (!missingAsDefault || incomplete.length === 0) return `${body}::json`;
  const defaults = incomplete.map(
    (column) => `jsonb_build_object(${parameters.text(column.name)}, ${column.default})`,
  );
  return (
    `(select json_agg(${defaults.join(" || ")} || element) ` +
    `from jsonb_array_elements(${body}::jsonb) as element)`
  );
}

function conflictClause(
  relation: Relation,
  onConflict: string[] | undefined,
  columns: Column[],
  resolution: Inserted["resolution"],
): string {
  if (resolution === undefined) return "";
  const names = onConflict ?? relation.primaryKey;
  for (const name of names) {
    if (!relation.columns.has(name)) throw unknownColumn(relation.name, name);
  }
  if (names.length === 0) return resolution === "ignore" ? " on conflict do nothing" : "";
  const target = `(${names.map(quoteIdentifier).join(", ")})`;
  if (resolution === "ignore" || columns.length === 0) return ` on conflict ${target} do nothing`;
  const assignments = columns.map(
    ({ name }) => `${quoteIdentifier(name)} = excluded.${quoteIdentifier(name)}`,
  );
  // Asked of each row that is there already: so the answer knows whether anything is new.
  const known = `coalesce(nullif(current_setting('${mergedSetting}', true), ''), '0')::int`;
  const counting = `set_config('${mergedSetting}', (${known} + 1)::text, true) <> ''`;
  return ` on conflict ${target} do update set ${assignments.join(", ")} where ${counting}`;
}

/** As on Supabase: whoever forgets the filter does not lose the table. */
function requireFilter({ where, limit, offset }: Query, verb: "UPDATE" | "DELETE"): void {
  if (limit !== undefined || offset !== 0) {
    throw new RestError(400, "PGRST100", `${verb} cannot be limited; filter by what the rows have instead`);
  }
  if (where.length === 0) throw new RestError(400, "21000", `${verb} requires a WHERE clause`);
}

function requirePrimaryKey({ where, limit, offset }: Query, { primaryKey }: Relation): void {
  if (limit !== undefined || offset !== 0) {
    throw new RestError(400, "PGRST114", "limit/offset querystring parameters are not allowed for PUT");
  }
  const named = where.map((condition) =>
    condition.kind === "compare" &&
    condition.operator === "eq" &&
    !condition.negated &&
    condition.field.path.length === 0
      ? condition.field.name
      : undefined,
  );
  const isKey =
    primaryKey.length > 0 &&
    named.length === primaryKey.length &&
    primaryKey.every((name) => named.includes(name));
  if (!isKey) {
    throw new RestError(
      405,
      "PGRST105",
      "Filters must include all and only primary key columns with 'eq' operators",
    );
  }
}
