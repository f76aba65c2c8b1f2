import {
  type Comparison,
  comparisons,
  type Condition,
  type Field,
  type IsValue,
  type OrderTerm,
  type Pattern,
  patterns,
  type Search,
  searches,
} from "./query.ts";
import { Scanner } from "./scanner.ts";

const quantifiable = new Set(["eq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch"]);
const maxDepth = 32;

/** In the URL of a function, where filters and arguments stand side by side. */
export function looksLikeFilter(value: string): boolean {
  return /^(not\.)?[a-z]+(\([^)]*\))?\./.test(value);
}

/** `not.gte.18`, of a field. */
export function parseFilter(field: Field, value: string): Condition {
  const scanner = new Scanner("filter", value);
  const condition = parseOperation(scanner, field, false);
  scanner.expectEnd();
  return condition;
}

/** `(age.lt.18,and(age.gt.65,member.is.true))`, of an `or`. */
export function parseGroup(operator: "and" | "or", negated: boolean, text: string): Condition {
  const scanner = new Scanner("logic tree", text);
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
  const value = () => (inGroup ? valueInGroup(scanner) : scanner.rest());

  if (isSearch(name)) {
    if (modifier !== undefined && !/^[\p{L}\p{N}_]+$/u.test(modifier))
      throw scanner.unexpected("a language of text search");
    return { kind: "search", negated, field, operator: name, language: modifier, value: value() };
  }
  if (name === "in" && modifier === undefined) {
    scanner.expect("(");
    return { kind: "in", negated, field, values: parseList(scanner) };
  }
  if (name === "is" && modifier === undefined) {
    const word = (inGroup ? scanner.until(/[,)]/) : scanner.rest()).toLowerCase();
    const is = word === "not_null" ? "not null" : word;
    if (!isIsValue(is)) throw scanner.unexpected("null, not_null, true, false or unknown");
    return { kind: "is", negated, field, value: is };
  }
  if (!isComparison(name) && !isPattern(name)) throw scanner.unexpected("an operator (eq, gt, ...)");
  if (modifier !== undefined) {
    if ((modifier !== "any" && modifier !== "all") || !quantifiable.has(name)) {
      throw scanner.unexpected("an operator (eq, gt, ...)");
    }
    const array = isPattern(name) ? wildcards(name, value()) : value();
    return { kind: "quantified", negated, field, operator: name, quantifier: modifier, array };
  }
  return isPattern(name)
    ? { kind: "pattern", negated, field, operator: name, value: wildcards(name, value()) }
    : { kind: "compare", negated, field, operator: name, value: value() };
}

function isComparison(name: string): name is Comparison {
  return Object.hasOwn(comparisons, name);
}

function isPattern(name: string): name is Pattern {
  return Object.hasOwn(patterns, name);
}

function isSearch(name: string): name is Search {
  return Object.hasOwn(searches, name);
}

function isIsValue(value: string): value is IsValue {
  return ["null", "not null", "true", "false", "unknown"].includes(value);
}

/** `%` has to be escaped in URLs, so `*` stands for it. */
function wildcards(operator: Pattern, value: string): string {
  return operator === "like" || operator === "ilike" ? value.replaceAll("*", "%") : value;
}

function parseList(scanner: Scanner): string[] {
  const values: string[] = [];
  if (scanner.take(")")) return values;
  do {
    values.push(scanner.sees('"') ? scanner.quoted() : scanner.until(/[,)]/));
  } while (scanner.take(","));
  scanner.expect(")");
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

/** `created_at.desc.nullslast, author(name)` */
export function parseOrder(text: string): OrderTerm[] {
  const scanner = new Scanner("order", text);
  const terms: OrderTerm[] = [];
  do {
    scanner.skipSpaces();
    terms.push(parseOrderTerm(scanner));
    scanner.skipSpaces();
  } while (scanner.take(","));
  scanner.expectEnd();
  return terms;
}

function parseOrderTerm(scanner: Scanner): OrderTerm {
  let embed: string | undefined;
  let field = scanner.field();
  if (field.path.length === 0 && scanner.take("(")) {
    embed = field.name;
    field = scanner.field();
    scanner.expect(")");
  }
  const term: OrderTerm = { embed, field, descending: false, nulls: undefined };
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
  return term;
}
