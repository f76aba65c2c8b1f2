import type { Argument, Catalog, Column, Relation, Routine } from "./catalog.ts";
import {
  type Comparison,
  comparisons,
  type Condition,
  type Field,
  type OrderTerm,
  type Pattern,
  patterns,
  type Query,
  type SelectItem,
} from "./parse-query.ts";
import { RestError, unknownBodyColumn, unknownColumn, unparsable } from "./rest-error.ts";

/**
 * A statement of one row: `body` (JSON as text), `rows` in it, `total` matching ones (null if not asked).
 * Its identifiers come from the catalog, its values are parameters.
 */
export interface Statement {
  text: string;
  values: string[];
}

export interface Shape {
  /** `count=exact` */
  counted: boolean;
  /** Without it nothing is read back: a caller who may only write can. */
  representation: boolean;
  /** The body is the first row itself, not an array. */
  single: boolean;
  stripNulls: boolean;
}

export interface Inserted {
  /** The body, a JSON array of objects. */
  json: string;
  rows: Record<string, unknown>[];
  resolution: "merge" | "ignore" | undefined;
  /** Keys that a row lacks get the column's default, not null. */
  missingAsDefault: boolean;
}

/** What a query reads from, under the name `target`. */
interface Source {
  name: string;
  columns: Map<string, Column>;
}

/** Every value goes as text and is cast in SQL: the driver has no say in how values are written. */
class Parameters {
  readonly values: string[] = [];

  text(value: string): string {
    this.values.push(value);
    return `$${this.values.length}::text`;
  }

  typed(value: string, type: string): string {
    return type === "text" ? this.text(value) : `${this.text(value)}::${type}`;
  }
}

export function quoteIdentifier(name: string): string {
  if (name.includes("\0")) throw new Error("an identifier cannot contain a zero byte");
  return `"${name.replaceAll('"', '""')}"`;
}

export function buildRead(catalog: Catalog, relation: Relation, query: Query, shape: Shape): Statement {
  const parameters = new Parameters();
  const from = `from ${tableOf(relation)} as target`;
  const where = whereClause(query.where, relation, parameters);
  const page = pageOf(catalog, query, relation, parameters, `${from}${where}`);
  const total = shape.counted ? `(select count(*) ${from}${where})` : "null";
  return { text: answer(page, total, shape), values: parameters.values };
}

export function buildInsert(
  catalog: Catalog,
  relation: Relation,
  query: Query,
  body: Inserted,
  shape: Shape,
): Statement {
  const parameters = new Parameters();
  const columns = bodyColumns(relation, query.columns, body);
  const into = `insert into ${tableOf(relation)} as target`;
  const names = columns.map(({ name }) => quoteIdentifier(name));
  let insert: string;
  if (body.rows.length > 0 && columns.length === 0) {
    if (body.rows.length > 1)
      throw new RestError(400, "PGRST102", "Several rows without any column cannot be inserted");
    insert = `${into} default values`;
  } else if (columns.length === 0) {
    // An empty array inserts nothing, by a statement that asks for the same rights.
    const [first] = relation.columns.keys();
    const name = quoteIdentifier(first ?? "");
    insert = `${into} (${name}) select null where false`;
  } else {
    const json = jsonWithDefaults(columns, body, parameters);
    insert =
      `${into} (${names.join(", ")}) select ${names.map((name) => `body.${name}`).join(", ")} ` +
      `from json_to_recordset(${json}) as body (${definitions(columns)})`;
  }
  insert += conflictClause(relation, query.onConflict, columns, body.resolution);
  return written(catalog, insert, query, relation, parameters, shape);
}

export function buildUpdate(
  catalog: Catalog,
  relation: Relation,
  query: Query,
  body: Pick<Inserted, "json" | "rows">,
  shape: Shape,
): Statement {
  requireFilter(query, "UPDATE");
  const parameters = new Parameters();
  const columns = bodyColumns(relation, query.columns, { ...body, missingAsDefault: false });
  const table = tableOf(relation);
  if (columns.length === 0) {
    const none = `select target.* from ${table} as target where false`;
    return { text: answer(none, "0", shape), values: parameters.values };
  }
  const assignments = columns.map(({ name }) => `${quoteIdentifier(name)} = body.${quoteIdentifier(name)}`);
  const update =
    `update ${table} as target set ${assignments.join(", ")} ` +
    `from json_to_recordset(${parameters.text(body.json)}::json) as body (${definitions(columns)})` +
    whereClause(query.where, relation, parameters);
  return written(catalog, update, query, relation, parameters, shape);
}

export function buildDelete(catalog: Catalog, relation: Relation, query: Query, shape: Shape): Statement {
  requireFilter(query, "DELETE");
  const parameters = new Parameters();
  const statement =
    `delete from ${tableOf(relation)} as target` + whereClause(query.where, relation, parameters);
  return written(catalog, statement, query, relation, parameters, shape);
}

/** Arguments either as the JSON object of a body, or each as text, as URLs have them. */
export type CallArguments =
  { kind: "json"; json: string; names: string[] } | { kind: "text"; values: Map<string, string> };

export function buildCall(
  catalog: Catalog,
  routine: Routine,
  given: CallArguments,
  query: Query,
  shape: Shape,
): Statement {
  const parameters = new Parameters();
  const { list, from } = callArguments(routine, given, parameters);
  const call = `public.${quoteIdentifier(routine.name)}(${list})`;
  const sources = from === "" ? "" : ` from ${from}`;

  if (routine.returns === "row") {
    const called = `select target.* from ${from === "" ? "" : `${from}, `}${call} as target`;
    const where = whereClause(query.where, routine, parameters);
    const page = pageOf(catalog, query, routine, parameters, `from called as target${where}`);
    const total = shape.counted ? `(select count(*) from called as target${where})` : "null";
    const single = shape.single || !routine.returnsSet;
    return {
      // Materialised: whatever is asked of its rows, the function runs once.
      text: `with called as materialized (${called}) ${answer(page, total, { ...shape, single })}`,
      values: parameters.values,
    };
  }
  refuseRowQuery(query, routine);
  if (routine.returns === "void") {
    return {
      text: `with called as materialized (select ${call}${sources}) select null as body, count(*)::text as rows, null as total from called`,
      values: parameters.values,
    };
  }
  if (routine.returnsSet) {
    const limits = limitClause(query, parameters);
    const page = `select value from called${limits}`;
    const rows = shape.representation ? "coalesce(json_agg(page.value), '[]')::text" : "null";
    const total = shape.counted ? "(select count(*) from called)" : "null";
    return {
      text:
        `with called as materialized (select ${call} as value${sources}) ` +
        `select ${rows} as body, count(*)::text as rows, (${total})::text as total from (${page}) as page`,
      values: parameters.values,
    };
  }
  return {
    text: `select coalesce(to_json(${call})::text, 'null') as body, '1' as rows, ${shape.counted ? "'1'" : "null"} as total${sources}`,
    values: parameters.values,
  };
}

function callArguments(
  routine: Routine,
  given: CallArguments,
  parameters: Parameters,
): { list: string; from: string } {
  const names = given.kind === "json" ? given.names : [...given.values.keys()];
  const used = routine.arguments.filter(({ name }) => names.includes(name));
  if (given.kind === "text") {
    const list = used.map((argument) => {
      const value = given.values.get(argument.name) ?? "";
      // What a URL says is text, also where JSON is wanted.
      const isJson = argument.type === "json" || argument.type === "jsonb";
      const typed = isJson
        ? `to_json(${parameters.text(value)})::${argument.type}`
        : parameters.typed(value, argument.type);
      return named(argument, typed);
    });
    return { list: list.join(", "), from: "" };
  }
  if (used.length === 0) return { list: "", from: "" };
  const list = used.map((argument) => named(argument, `arguments.${quoteIdentifier(argument.name)}`));
  const from = `json_to_record(${parameters.text(given.json)}::json) as arguments (${definitions(used)})`;
  return { list: list.join(", "), from };
}

function named({ name, variadic }: Argument, value: string): string {
  return `${variadic ? "variadic " : ""}${quoteIdentifier(name)} => ${value}`;
}

function refuseRowQuery({ select, where, order }: Query, { name }: Routine): void {
  const asksForAll = select.length === 1 && select[0]?.kind === "all";
  if (asksForAll && where.length === 0 && order.length === 0) return;
  throw new RestError(400, "PGRST100", `The function public.${name} returns no rows with columns to ask for`);
}

/** One row of what `page` selects. */
function answer(page: string, total: string, { representation, single, stripNulls }: Shape): string {
  // With `.*` it is the row, even when one of its columns has the same name.
  const rows = stripNulls ? "json_strip_nulls(json_agg(page_row.*))" : "json_agg(page_row.*)";
  const json = single ? `(${rows} -> 0)::text` : `coalesce(${rows}, '[]')::text`;
  const body = representation ? json : "null";
  return `select ${body} as body, count(*)::text as rows, (${total})::text as total from (${page}) as page_row`;
}

/** A write as a statement that answers with what it wrote, in the order asked for. */
function written(
  catalog: Catalog,
  write: string,
  query: Query,
  relation: Relation,
  parameters: Parameters,
  shape: Shape,
): Statement {
  if (!shape.representation) {
    const text = `with written as (${write} returning 1) ${answer("select 1 from written", "count(*)", shape)}`;
    return { text, values: parameters.values };
  }
  if (query.order.length === 0) {
    const list = selectList(catalog, query.select, relation, parameters);
    const text = `with written as (${write} returning ${list}) ${answer("select * from written", "count(*)", shape)}`;
    return { text, values: parameters.values };
  }
  const items = query.select.flatMap((item) => (item.kind === "all" ? everyColumn(relation) : [item]));
  const selected = items.map((item) => selectItem(catalog, item, relation, parameters));
  const keys = query.order.map(({ field }) => expression(field, relation, parameters).sql);
  const returning = [
    ...selected.map(({ sql }, index) => `${sql} as selected_${index}`),
    ...keys.map((sql, index) => `${sql} as key_${index}`),
  ];
  const page =
    `select ${selected.map(({ name }, index) => `selected_${index} as ${quoteIdentifier(name)}`).join(", ")} ` +
    `from written order by ${query.order.map((term, index) => `key_${index}${direction(term)}`).join(", ")}`;
  const text = `with written as (${write} returning ${returning.join(", ")}) ${answer(page, "count(*)", shape)}`;
  return { text, values: parameters.values };
}

function everyColumn({ columns }: Source): (SelectItem & { kind: "field" })[] {
  return [...columns.keys()].map((name) => ({
    kind: "field",
    field: { name, path: [] },
    alias: undefined,
    cast: undefined,
  }));
}

function pageOf(
  catalog: Catalog,
  query: Query,
  source: Source,
  parameters: Parameters,
  fromAndWhere: string,
): string {
  const list = selectList(catalog, query.select, source, parameters);
  const order = query.order.map((term) => expression(term.field, source, parameters).sql + direction(term));
  const orderBy = order.length > 0 ? ` order by ${order.join(", ")}` : "";
  return `select ${list} ${fromAndWhere}${orderBy}${limitClause(query, parameters)}`;
}

function limitClause({ limit, offset }: Query, parameters: Parameters): string {
  const limited = limit === undefined ? "" : ` limit ${parameters.typed(String(limit), "bigint")}`;
  return offset === 0 ? limited : `${limited} offset ${parameters.typed(String(offset), "bigint")}`;
}

function direction({ descending, nulls }: OrderTerm): string {
  return `${descending ? " desc" : " asc"}${nulls === undefined ? "" : ` nulls ${nulls}`}`;
}

function selectList(catalog: Catalog, select: SelectItem[], source: Source, parameters: Parameters): string {
  return select
    .map((item) => {
      if (item.kind === "all") return "target.*";
      const { sql, name } = selectItem(catalog, item, source, parameters);
      return `${sql} as ${quoteIdentifier(name)}`;
    })
    .join(", ");
}

function selectItem(
  catalog: Catalog,
  { field, alias, cast }: SelectItem & { kind: "field" },
  source: Source,
  parameters: Parameters,
): { sql: string; name: string } {
  const { sql } = expression(field, source, parameters);
  return {
    sql: cast === undefined ? sql : `(${sql})::${castType(catalog, cast)}`,
    name: alias ?? outputName(field),
  };
}

/** A place in JSON is called by its last key. */
function outputName({ name, path }: Field): string {
  const key = path.findLast((step) => typeof step.key === "string")?.key;
  return typeof key === "string" ? key : name;
}

function castType({ types }: Catalog, cast: string): string {
  const [, name = "", brackets = ""] = /^(.*?)((?:\[\])?)$/s.exec(cast.toLowerCase()) ?? [];
  const type = types.get(name) ?? types.get(synonyms[name] ?? "");
  if (type === undefined) throw unparsable("select parameter", cast, "this is not a type to cast to");
  return type + brackets;
}

const synonyms: Record<string, string> = { int: "int4", decimal: "numeric", float: "float8", string: "text" };

interface Expression {
  sql: string;
  /** What a value compared with it is cast to. */
  type: string;
}

function expression({ name, path }: Field, source: Source, parameters: Parameters): Expression {
  const column = source.columns.get(name);
  if (!column) throw unknownColumn(source.name, name);
  const bare = `target.${quoteIdentifier(column.name)}`;
  if (path.length === 0) return { sql: bare, type: column.type };
  let sql = column.type === "json" || column.type === "jsonb" ? bare : `to_jsonb(${bare})`;
  for (const { asText, key } of path) {
    const step = typeof key === "number" ? parameters.typed(String(key), "int4") : parameters.text(key);
    sql += `${asText ? "->>" : "->"}(${step})`;
  }
  return { sql: `(${sql})`, type: path.at(-1)?.asText ? "text" : "jsonb" };
}

function whereClause(conditions: Condition[], source: Source, parameters: Parameters): string {
  if (conditions.length === 0) return "";
  return ` where ${conditions.map((condition) => conditionOf(condition, source, parameters)).join(" and ")}`;
}

function conditionOf(condition: Condition, source: Source, parameters: Parameters): string {
  const not = condition.negated ? "not " : "";
  if (condition.kind === "group") {
    const parts = condition.conditions.map((part) => conditionOf(part, source, parameters));
    return `${not}(${parts.join(` ${condition.operator} `)})`;
  }
  const { sql: plain, type } = expression(condition.field, source, parameters);
  if (condition.kind === "is") return `${not}(${plain} is ${condition.value})`;
  // `json` has no equality of its own; taken out of a `json` column, it is compared as `jsonb`.
  const sql = type === "jsonb" && condition.field.path.length > 0 ? `to_jsonb(${plain})` : plain;

  switch (condition.kind) {
    case "compare":
      return `${not}(${sql} ${comparisons[condition.operator]} ${parameters.typed(condition.value, type)})`;
    case "pattern":
      return `${not}(${sql} ${patterns[condition.operator]} ${parameters.text(condition.value)})`;
    case "in":
      return `${not}(${membership(sql, type, condition.values, parameters)})`;
    case "quantified": {
      const valueType = isPattern(condition.operator) ? "text" : type;
      const operator = operatorOf(condition.operator);
      const list = parameters.typed(arrayLiteral(condition.values), `${valueType}[]`);
      return `${not}(${sql} ${operator} ${condition.quantifier} (${list}))`;
    }
  }
}

function isPattern(operator: Comparison | Pattern): operator is Pattern {
  return Object.hasOwn(patterns, operator);
}

function operatorOf(operator: Comparison | Pattern): string {
  return isPattern(operator) ? patterns[operator] : comparisons[operator];
}

function membership(sql: string, type: string, values: string[], parameters: Parameters): string {
  if (!type.endsWith("[]")) {
    return `${sql} = any (${parameters.typed(arrayLiteral(values), `${type}[]`)})`;
  }
  // There are no arrays of arrays.
  if (values.length === 0) return "false";
  return `${sql} in (${values.map((value) => parameters.typed(value, type)).join(", ")})`;
}

/** `{"a","b \"c\""}` */
export function arrayLiteral(values: string[]): string {
  return `{${values.map((value) => `"${value.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}

function tableOf({ name }: Relation): string {
  return `public.${quoteIdentifier(name)}`;
}

function definitions(columns: { name: string; type: string }[]): string {
  return columns.map(({ name, type }) => `${quoteIdentifier(name)} ${type}`).join(", ");
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

function jsonWithDefaults(
  columns: Column[],
  { json, rows, missingAsDefault }: Inserted,
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
  return ` on conflict ${target} do update set ${assignments.join(", ")}`;
}

/** As on Supabase: whoever forgets the filter does not lose the table. */
function requireFilter({ where, limit, offset }: Query, verb: "UPDATE" | "DELETE"): void {
  if (limit !== undefined || offset !== 0) {
    throw new RestError(400, "PGRST100", `${verb} cannot be limited; filter by what the rows have instead`);
  }
  if (where.length === 0) throw new RestError(400, "21000", `${verb} requires a WHERE clause`);
}
