import type { Column } from "./catalog.ts";
import {
  type Comparison,
  comparisons,
  type Condition,
  type Field,
  type Pattern,
  patterns,
  searches,
} from "./query.ts";
import { RestError, unknownColumn } from "./rest-error.ts";
import { arrayLiteral, type Parameters, quoteIdentifier } from "./sql-text.ts";

/** What conditions speak of. */
export interface Source {
  /** As people know it. */
  name: string;
  /** As the statement calls it. */
  alias: string;
  columns: Map<string, Column>;
  /** For what is embedded in it, an expression that is null where there is no related row. */
  embeds?: Map<string, string>;
}

interface Expression {
  sql: string;
  /** What a value compared with it is cast to. */
  type: string;
}

export function expression({ name, path }: Field, source: Source, parameters: Parameters): Expression {
  const column = source.columns.get(name);
  if (!column) throw unknownColumn(source.name, name);
  const bare = `${source.alias}.${quoteIdentifier(column.name)}`;
  if (path.length === 0) return { sql: bare, type: column.type };
  let sql = column.type === "json" || column.type === "jsonb" ? bare : `to_jsonb(${bare})`;
  for (const { asText, key } of path) {
    const step = typeof key === "number" ? parameters.typed(String(key), "int4") : parameters.text(key);
    sql += `${asText ? "->>" : "->"}(${step})`;
  }
  return { sql: `(${sql})`, type: path.at(-1)?.asText ? "text" : "jsonb" };
}

export function whereClause(
  conditions: Condition[],
  source: Source,
  parameters: Parameters,
  joinConditions: string[] = [],
): string {
  const parts = [
    ...joinConditions,
    ...conditions.map((condition) => conditionOf(condition, source, parameters)),
  ];
  return parts.length === 0 ? "" : ` where ${parts.join(" and ")}`;
}

function conditionOf(condition: Condition, source: Source, parameters: Parameters): string {
  const not = condition.negated ? "not " : "";
  if (condition.kind === "group") {
    const parts = condition.conditions.map((part) => conditionOf(part, source, parameters));
    return `${not}(${parts.join(` ${condition.operator} `)})`;
  }
  const { name, path } = condition.field;
  const presence = path.length === 0 ? source.embeds?.get(name) : undefined;
  if (presence !== undefined) {
    if (isNullTest(condition)) return `${not}(${presence} is ${condition.value})`;
    if (!source.columns.has(name)) throw badEmbedFilter(name);
  }
  const { sql: plain, type } = expression(condition.field, source, parameters);
  if (condition.kind === "is") return `${not}(${plain} is ${condition.value})`;
  if (condition.kind === "search") {
    const language =
      condition.language === undefined ? "" : `${parameters.text(condition.language)}::regconfig, `;
    const words = type === "tsvector" ? plain : `to_tsvector(${language}${plain})`;
    const wanted = `${searches[condition.operator]}(${language}${parameters.text(condition.value)})`;
    return `${not}(${words} @@ ${wanted})`;
  }
  // `json` has no equality of its own; taken out of a `json` column, it is compared as `jsonb`.
  const sql = type === "jsonb" && path.length > 0 ? `to_jsonb(${plain})` : plain;

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
      const list = parameters.typed(condition.array, `${valueType}[]`);
      return `${not}(${sql} ${operator} ${condition.quantifier} (${list}))`;
    }
  }
}

/** The only question that can be asked of an embedded table as a whole. */
export function isNullTest(
  condition: Condition,
): condition is Extract<Condition, { kind: "is" }> & { value: "null" | "not null" } {
  return condition.kind === "is" && (condition.value === "null" || condition.value === "not null");
}

function badEmbedFilter(name: string): RestError {
  return new RestError(400, "PGRST120", `Bad operator on the '${name}' embedded resource`, {
    details: "Only is null or not is null filters are allowed on embedded resources",
  });
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
