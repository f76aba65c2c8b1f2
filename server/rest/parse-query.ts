import { embeddingRefused, RestError, unparsable } from "./rest-error.ts";

/** One arrow of `data->a->>b`. */
export interface JsonStep {
  asText: boolean;
  key: string | number;
}

/** A column, or a place inside its JSON. Names are as the client wrote them: not yet known to exist. */
export interface Field {
  name: string;
  path: JsonStep[];
}

export type SelectItem =
  { kind: "all" } | { kind: "field"; field: Field; alias: string | undefined; cast: string | undefined };

/** Operators that compare a field with one value of its own type, as SQL spells them. */
export const comparisons = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  isdistinct: "is distinct from",
  cs: "@>",
  cd: "<@",
  ov: "&&",
  sl: "<<",
  sr: ">>",
  nxr: "&<",
  nxl: "&>",
  adj: "-|-",
} as const;

/** Operators whose right side is a pattern, whatever the field's type. */
export const patterns = { like: "like", ilike: "ilike", match: "~", imatch: "~*" } as const;

export type Comparison = keyof typeof comparisons;
export type Pattern = keyof typeof patterns;
export type Quantifier = "any" | "all";
export type IsValue = "null" | "not null" | "true" | "false" | "unknown";

export type Condition =
  | { kind: "compare"; negated: boolean; field: Field; operator: Comparison; value: string }
  | { kind: "pattern"; negated: boolean; field: Field; operator: Pattern; value: string }
  | {
      kind: "quantified";
      negated: boolean;
      field: Field;
      operator: Comparison | Pattern;
      quantifier: Quantifier;
      values: string[];
    }
  | { kind: "in"; negated: boolean; field: Field; values: string[] }
  | { kind: "is"; negated: boolean; field: Field; value: IsValue }
  | { kind: "group"; negated: boolean; operator: "and" | "or"; conditions: Condition[] };

export interface OrderTerm {
  field: Field;
  descending: boolean;
  nulls: "first" | "last" | undefined;
}

export interface Query {
  select: SelectItem[];
  where: Condition[];
  order: OrderTerm[];
  limit: number | undefined;
  offset: number;
  /** `columns=`: which keys of the body count. */
  columns: string[] | undefined;
  onConflict: string[] | undefined;
}

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

const quantifiable = new Set(["eq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch"]);
const maxDepth = 32;

/** The parameters of a URL, without those that `isArgument` claims for a function. */
export function parseQuery(
  parameters: URLSearchParams,
  isArgument: (name: string) => boolean = () => false,
): Query {
  const query: Query = {
    select: [{ kind: "all" }],
    where: [],
    order: [],
    limit: undefined,
    offset: 0,
    columns: undefined,
    onConflict: undefined,
  };
  for (const [key, value] of parameters) {
    // Text with a zero byte exists nowhere in PostgreSQL, and would end a statement in its protocol.
    if (key.includes("\0") || value.includes("\0")) {
      throw unparsable("query", key.replaceAll("\0", ""), "zero bytes are not allowed");
    }
    if (isArgument(key)) continue;
    switch (key) {
      case "select":
        query.select = parseSelect(value);
        break;
      case "order":
        query.order = parseOrder(value);
        break;
      case "limit":
        query.limit = parseCount("limit", value);
        break;
      case "offset":
        query.offset = parseCount("offset", value);
        break;
      case "columns":
        query.columns = parseNames("columns", value);
        break;
      case "on_conflict":
        query.onConflict = parseNames("on_conflict", value);
        break;
      case "and":
      case "or":
      case "not.and":
      case "not.or":
        query.where.push(parseGroup(key, value));
        break;
      default:
        query.where.push(parseFilter(key, value));
    }
  }
  return query;
}

export function parseSelect(text: string): SelectItem[] {
  const scanner = new Scanner("select parameter", text);
  const items: SelectItem[] = [];
  scanner.skipSpaces();
  if (scanner.atEnd) return [{ kind: "all" }];
  do {
    scanner.skipSpaces();
    items.push(parseSelectItem(scanner, text));
    scanner.skipSpaces();
  } while (scanner.take(","));
  scanner.expectEnd();
  return items;
}

function parseSelectItem(scanner: Scanner, text: string): SelectItem {
  if (scanner.take("...")) throw embeddingRefused(text);
  if (scanner.take("*")) return { kind: "all" };
  let alias: string | undefined;
  let field = scanner.field();
  if (scanner.sees(":") && !scanner.sees("::")) {
    if (field.path.length > 0) throw scanner.unexpected("a column after the alias");
    scanner.take(":");
    alias = aliasOf(field.name, scanner);
    field = scanner.field();
  }
  if (scanner.sees("(") || scanner.sees("!")) refuseCall(field.name, text);
  if (scanner.sees(".")) refuseAggregate();
  let cast: string | undefined;
  if (scanner.take("::")) {
    cast = scanner.until(/[,.(]/).trim();
    if (cast === "") throw scanner.unexpected("a type");
    if (scanner.sees(".")) refuseAggregate();
  }
  return { kind: "field", field, alias, cast };
}

function refuseCall(name: string, text: string): never {
  if (["count", "sum", "avg", "max", "min"].includes(name) && text.includes(`${name}()`)) refuseAggregate();
  throw embeddingRefused(text);
}

function refuseAggregate(): never {
  throw new RestError(400, "PGRST123", "Use of aggregate functions is not allowed");
}

/** No name of the schema, though an identifier in SQL: quoted there, and plain enough not to need it. */
function aliasOf(name: string, scanner: Scanner): string {
  if (!/^[\p{L}\p{N}_$ -]+$/u.test(name) || new TextEncoder().encode(name).length > 63) {
    throw scanner.unexpected("an alias of at most 63 letters, digits, spaces, _, $ or -");
  }
  return name;
}

export function parseOrder(text: string): OrderTerm[] {
  const scanner = new Scanner("order", text);
  const terms: OrderTerm[] = [];
  do {
    scanner.skipSpaces();
    const field = scanner.field();
    if (scanner.sees("(")) throw embeddingRefused(text);
    const term: OrderTerm = { field, descending: false, nulls: undefined };
    let seenDirection = false;
    while (scanner.take(".")) {
      const word = scanner.until(/[.,]/).trim();
      if (!seenDirection && term.nulls === undefined && (word === "asc" || word === "desc")) {
        term.descending = word === "desc";
        seenDirection = true;
      } else if (term.nulls === undefined && (word === "nullsfirst" || word === "nullslast")) {
        term.nulls = word === "nullsfirst" ? "first" : "last";
      } else {
        throw scanner.unexpected('"asc", "desc", "nullsfirst" or "nullslast"');
      }
    }
    terms.push(term);
    scanner.skipSpaces();
  } while (scanner.take(","));
  scanner.expectEnd();
  return terms;
}

function parseCount(name: string, text: string): number {
  if (/^-\d+$/.test(text)) {
    throw new RestError(416, "PGRST103", "Requested range not satisfiable", {
      details: `The ${name} should be greater than or equal to zero.`,
    });
  }
  if (!/^\d{1,15}$/.test(text)) throw unparsable(name, text, "expecting a whole number from 0");
  return Number(text);
}

function parseNames(parameter: string, text: string): string[] {
  const scanner = new Scanner(`${parameter} parameter`, text);
  const names: string[] = [];
  if (text === "") return names;
  do {
    scanner.skipSpaces();
    const { name, path } = scanner.field();
    if (path.length > 0) throw scanner.unexpected("a column");
    names.push(name);
    scanner.skipSpaces();
  } while (scanner.take(","));
  scanner.expectEnd();
  return names;
}

/** In the URL of a function, where filters and arguments stand side by side. */
export function looksLikeFilter(value: string): boolean {
  return /^(not\.)?[a-z]+(\([^)]*\))?\./.test(value);
}

/** `age=not.gte.18` */
export function parseFilter(key: string, value: string): Condition {
  const keyScanner = new Scanner("filter", key);
  const field = keyScanner.field();
  if (keyScanner.sees(".")) throw embeddingRefused(key);
  keyScanner.expectEnd();
  const scanner = new Scanner("filter", value);
  const condition = parseOperation(scanner, field, false);
  scanner.expectEnd();
  return condition;
}

/** `or=(age.lt.18,and(age.gt.65,member.is.true))` */
export function parseGroup(key: string, text: string): Condition {
  const scanner = new Scanner("logic tree", text);
  const negated = key.startsWith("not.");
  const operator = key.endsWith("or") ? "or" : "and";
  const group = parseGroupBody(scanner, operator, negated, 1);
  scanner.expectEnd();
  return group;
}

function parseGroupBody(
  scanner: Scanner,
  operator: "and" | "or",
  negated: boolean,
  depth: number,
): Condition {
  if (depth > maxDepth) throw scanner.unexpected(`at most ${maxDepth} levels`);
  scanner.expect("(");
  const conditions: Condition[] = [];
  do {
    scanner.skipSpaces();
    const nested = scanner.takeMatch(/(not\.)?(and|or)(?=\()/y);
    if (nested) {
      const word = nested[2] === "or" ? "or" : "and";
      conditions.push(parseGroupBody(scanner, word, nested[1] !== undefined, depth + 1));
    } else {
      const field = scanner.field();
      scanner.expect(".");
      conditions.push(parseOperation(scanner, field, true));
    }
    scanner.skipSpaces();
  } while (scanner.take(","));
  scanner.expect(")");
  return { kind: "group", negated, operator, conditions };
}

/** What follows the field: `not.like(any).{a*,b*}`. Inside a group a value ends at a comma or bracket. */
function parseOperation(scanner: Scanner, field: Field, inGroup: boolean): Condition {
  const negated = scanner.take("not.");
  const head = scanner.takeMatch(/([a-z]+)(?:\(([^)]*)\))?\./y);
  if (!head) throw scanner.unexpected("an operator (eq, gt, ...)");
  const [, name = "", modifier] = head;
  if (["fts", "plfts", "phfts", "wfts"].includes(name)) {
    throw unparsable("filter", scanner.text, "full text search is not served here");
  }

  if (name === "in" && modifier === undefined) {
    scanner.expect("(");
    return { kind: "in", negated, field, values: parseList(scanner, ")") };
  }
  if (name === "is" && modifier === undefined) {
    const word = (inGroup ? scanner.until(/[,)]/) : scanner.rest()).toLowerCase();
    const value = word === "not_null" ? "not null" : word;
    if (!isIsValue(value)) throw scanner.unexpected("null, not_null, true, false or unknown");
    return { kind: "is", negated, field, value };
  }
  if (!isComparison(name) && !isPattern(name)) throw scanner.unexpected("an operator (eq, gt, ...)");
  if (modifier !== undefined) {
    if ((modifier !== "any" && modifier !== "all") || !quantifiable.has(name)) {
      throw scanner.unexpected("an operator (eq, gt, ...)");
    }
    scanner.expect("{");
    const values = parseList(scanner, "}").map((value) => (isPattern(name) ? wildcards(name, value) : value));
    return { kind: "quantified", negated, field, operator: name, quantifier: modifier, values };
  }
  const value = inGroup ? valueInGroup(scanner) : scanner.rest();
  return isPattern(name)
    ? { kind: "pattern", negated, field, operator: name, value: wildcards(name, value) }
    : { kind: "compare", negated, field, operator: name, value };
}

function isComparison(name: string): name is Comparison {
  return Object.hasOwn(comparisons, name);
}

function isPattern(name: string): name is Pattern {
  return Object.hasOwn(patterns, name);
}

function isIsValue(value: string): value is IsValue {
  return ["null", "not null", "true", "false", "unknown"].includes(value);
}

/** `%` has to be escaped in URLs, so `*` stands for it. */
function wildcards(operator: Pattern, value: string): string {
  return operator === "like" || operator === "ilike" ? value.replaceAll("*", "%") : value;
}

function parseList(scanner: Scanner, end: ")" | "}"): string[] {
  const values: string[] = [];
  if (scanner.take(end)) return values;
  do {
    values.push(scanner.sees('"') ? scanner.quoted() : scanner.until(end === ")" ? /[,)]/ : /[,}]/));
  } while (scanner.take(","));
  scanner.expect(end);
  return values;
}

function valueInGroup(scanner: Scanner): string {
  const start = scanner.position;
  if (scanner.sees('"')) {
    const value = scanner.quoted();
    if (scanner.sees(",") || scanner.sees(")")) return value;
    scanner.position = start;
  }
  // An array or object in braces keeps its commas.
  const braces = scanner.takeMatch(/\{[^{}]*\}(?=[,)])/y);
  return braces ? braces[0] : scanner.until(/[,)]/);
}

class Scanner {
  position = 0;
  readonly text: string;
  readonly #what: string;

  constructor(what: string, text: string) {
    this.#what = what;
    this.text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.text.length;
  }

  sees(part: string): boolean {
    return this.text.startsWith(part, this.position);
  }

  take(part: string): boolean {
    if (!this.sees(part)) return false;
    this.position += part.length;
    return true;
  }

  /** A sticky pattern at this place. */
  takeMatch(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.text);
    if (!match) return undefined;
    this.position = pattern.lastIndex;
    return match;
  }

  until(stop: RegExp): string {
    const left = this.text.slice(this.position);
    const length = left.search(stop);
    const found = length === -1 ? left : left.slice(0, length);
    this.position += found.length;
    return found;
  }

  rest(): string {
    const left = this.text.slice(this.position);
    this.position = this.text.length;
    return left;
  }

  skipSpaces(): void {
    while (this.sees(" ")) this.position++;
  }

  expect(part: string): void {
    if (!this.take(part)) throw this.unexpected(`"${part}"`);
  }

  expectEnd(): void {
    if (!this.atEnd) throw this.unexpected("the end");
  }

  unexpected(expected: string): RestError {
    const found = this.atEnd ? "end of input" : `"${this.text.slice(this.position, this.position + 20)}"`;
    return unparsable(this.#what, this.text, `unexpected ${found} expecting ${expected}`);
  }

  /** `"a \"quoted\" name"` */
  quoted(): string {
    const match = this.takeMatch(/"((?:[^"\\]|\\[\s\S])*)"/y);
    if (!match) throw this.unexpected("a closing quote");
    return (match[1] ?? "").replace(/\\([\s\S])/g, "$1");
  }

  field(): Field {
    const name = this.#name(/(?:(?!->)[^.,:()!"])+/y);
    const path: JsonStep[] = [];
    while (this.sees("->")) {
      const asText = this.take("->>");
      if (!asText) this.take("->");
      if (path.at(-1)?.asText) throw this.unexpected("nothing after ->>");
      const quoted = this.sees('"');
      const key = this.#name(/(?:(?!->)[^.,:()"])+/y);
      const isIndex = !quoted && /^-?\d{1,9}$/.test(key);
      path.push({ asText, key: isIndex ? Number(key) : key });
    }
    return { name, path };
  }

  #name(pattern: RegExp): string {
    if (this.sees('"')) return this.quoted();
    const name = this.takeMatch(pattern)?.[0].trim();
    if (!name) throw this.unexpected("a name");
    return name;
  }
}
