import { parseFilter, parseGroup, parseOrder } from "./parse-conditions.ts";
import { parseSelect } from "./parse-select.ts";
import { type Condition, type Embed, type Field, nameOf, type Query, type Resource } from "./query.ts";
import { RestError, unparsable } from "./rest-error.ts";
import { parseNames, Scanner } from "./scanner.ts";

/** Parameters with a meaning of their own: neither filters nor arguments. */
export const reservedParameters = new Set([
  "select",
  "order",
  "limit",
  "offset",
  "columns",
  "on_conflict",
  "and",
  "or",
  "not.and",
  "not.or",
]);

/** The parameters of a URL, without those that `isArgument` claims for a function. */
export function parseQuery(
  parameters: URLSearchParams,
  isArgument: (name: string) => boolean = () => false,
): Query {
  const given = [...parameters].filter(([name]) => !isArgument(name));
  for (const [key, value] of given) {
    // Text with a zero byte exists nowhere in PostgreSQL, and would end a statement in its protocol.
    if (key.includes("\0") || value.includes("\0")) {
      throw unparsable("query", key.replaceAll("\0", ""), 0, "zero bytes are not allowed");
    }
  }
  const query: Query = {
    select: [{ kind: "all" }],
    where: [],
    order: [],
    limit: undefined,
    offset: 0,
    columns: undefined,
    onConflict: undefined,
  };
  // First, for the others may speak of what it embeds; of several the first counts.
  const select = given.find(([key]) => key === "select");
  if (select) query.select = parseSelect(select[1]);
  for (const [key, value] of given) {
    if (key === "select") continue;
    if (key === "columns") query.columns = parseNames("columns parameter", value);
    else if (key === "on_conflict") query.onConflict = parseNames("on_conflict parameter", value);
    else addParameter(query, key, value);
  }
  return query;
}

/** `id`, `order`, `not.or`, and the same of something embedded: `author.id`, `author.not.or`. */
function addParameter(query: Query, key: string, value: string): void {
  const { path, field } = parseKey(key);
  const word = field.path.length === 0 ? field.name : "";
  if (word === "and" || word === "or") {
    const negated = path.at(-1) === "not";
    const resource = resourceAt(query, negated ? path.slice(0, -1) : path);
    resource.where.push(parseGroup(word, negated, value));
    return;
  }
  const resource = resourceAt(query, path);
  if (word === "order") {
    const order = parseOrder(value);
    if (resource.order.length === 0) resource.order = order;
  } else if (word === "limit") resource.limit = parseCount("limit", value);
  else if (word === "offset") resource.offset = parseCount("offset", value);
  else resource.where.push(parseFilter(field, value));
}

function parseKey(key: string): { path: string[]; field: Field } {
  const scanner = new Scanner("tree path", key);
  const path: string[] = [];
  let field = scanner.field();
  while (field.path.length === 0 && scanner.take(".")) {
    path.push(field.name);
    field = scanner.field();
  }
  scanner.expectEnd();
  return { path, field };
}

function resourceAt(query: Query, path: string[]): Resource {
  let resource: Resource = query;
  for (const name of path) resource = embedNamed(resource, name).resource;
  return resource;
}

/** What filters and orders may speak of: only what `select` embeds. */
export function embedNamed({ select }: Pick<Resource, "select">, name: string): Embed {
  const embed = select.find((item): item is Embed => item.kind === "embed" && nameOf(item) === name);
  if (embed) return embed;
  throw new RestError(400, "PGRST108", `'${name}' is not an embedded resource in this request`, {
    hint: `Verify that '${name}' is included in the 'select' query parameter.`,
  });
}

function parseCount(name: string, text: string): number {
  if (/^-\d+$/.test(text)) {
    throw new RestError(416, "PGRST103", "Requested range not satisfiable", {
      details: `${name === "limit" ? "Limit" : "Offset"} should be greater than or equal to zero.`,
    });
  }
  if (!/^\d{1,15}$/.test(text)) throw unparsable(name, text, 0, "expecting a whole number from 0");
  return Number(text);
}

/** Every condition, also those inside groups. */
export function* leavesOf(conditions: Condition[]): Generator<Exclude<Condition, { kind: "group" }>> {
  for (const condition of conditions) {
    if (condition.kind === "group") yield* leavesOf(condition.conditions);
    else yield condition;
  }
}
