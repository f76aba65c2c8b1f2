import type { Embed, SelectItem } from "./query.ts";
import { RestError } from "./rest-error.ts";
import { Scanner } from "./scanner.ts";

/** A query is planned before anybody knows what it costs; so many tables are more than a page needs. */
const maxEmbeds = 50;
const maxDepth = 10;
/** Of all tables together: PostgreSQL makes rows of at most 1,664, and each one of a long answer is built in memory. */
const maxItems = 1_000;

const aggregates = new Set(["count", "sum", "avg", "max", "min"]);

/** `id, name:full_name, data->>x, when::date, author:authors!inner(*), ...cover(url)` */
export function parseSelect(text: string): SelectItem[] {
  const scanner = new Scanner("select parameter", text);
  scanner.skipSpaces();
  if (scanner.atEnd) return [{ kind: "all" }];
  const reader = new SelectReader(scanner);
  const items = reader.items(0);
  scanner.expectEnd();
  return items;
}

class SelectReader {
  #embeds = 0;
  #items = 0;
  readonly #scanner: Scanner;

  constructor(scanner: Scanner) {
    this.#scanner = scanner;
  }

  items(depth: number): SelectItem[] {
    const scanner = this.#scanner;
    const items: SelectItem[] = [];
    do {
      scanner.skipSpaces();
      if (++this.#items > maxItems) throw scanner.unexpected(`at most ${maxItems} columns in all`);
      items.push(this.#item(depth));
      scanner.skipSpaces();
    } while (scanner.take(","));
    return items;
  }

  #item(depth: number): SelectItem {
    const scanner = this.#scanner;
    if (scanner.take("*")) return { kind: "all" };
    if (scanner.take("...")) return this.#embed(scanner.name(), undefined, true, depth);
    let alias: string | undefined;
    let field = scanner.field();
    if (scanner.sees(":") && !scanner.sees("::")) {
      if (field.path.length > 0) throw scanner.unexpected("a column after the alias");
      scanner.take(":");
      alias = aliasOf(field.name, scanner);
      field = scanner.field();
    }
    if (field.path.length === 0 && (scanner.sees("(") || scanner.sees("!"))) {
      if (field.name === "count" && scanner.sees("()")) refuseAggregate();
      return this.#embed(field.name, alias, false, depth);
    }
    this.#refuseAggregates();
    let cast: string | undefined;
    if (scanner.take("::")) {
      cast = scanner.until(/[,.():]/).trim();
      if (cast === "") throw scanner.unexpected("a type");
      this.#refuseAggregates();
    }
    return { kind: "field", field, alias, cast };
  }

  #embed(name: string, alias: string | undefined, spread: boolean, depth: number): Embed {
    const scanner = this.#scanner;
    if (++this.#embeds > maxEmbeds) throw scanner.unexpected(`at most ${maxEmbeds} embedded resources`);
    if (depth >= maxDepth) throw scanner.unexpected(`at most ${maxDepth} levels of embedded resources`);
    let hint: string | undefined;
    let join: string | undefined;
    while (scanner.take("!")) {
      const word = scanner.name();
      if (join === undefined && (word === "inner" || word === "left")) join = word;
      else if (hint === undefined) hint = word;
      else throw scanner.unexpected('"("');
    }
    scanner.expect("(");
    scanner.skipSpaces();
    const select = scanner.sees(")") ? [] : this.items(depth + 1);
    scanner.expect(")");
    // Also the name of a table stands in the answer.
    aliasOf(alias ?? name, scanner);
    return {
      kind: "embed",
      name,
      alias,
      hint,
      inner: join === "inner",
      spread,
      resource: { select, where: [], order: [], limit: undefined, offset: 0 },
    };
  }

  #refuseAggregates(): void {
    const scanner = this.#scanner;
    if (!scanner.take(".")) return;
    const name = scanner.takeMatch(/[a-z]+(?=\(\))/y)?.[0];
    if (name === undefined || !aggregates.has(name)) throw scanner.unexpected("sum, avg, count, max or min");
    refuseAggregate();
  }
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
