import { escapeIdentifier, type QueryResult } from "./driver.ts";
import template, { raw, Sql as Fragment } from "sql-template-tag";

export type Row = Record<string, unknown>;

/** Rows as plain objects; `count` is the number of rows that the statement returned or changed. */
export type Rows<Result extends readonly object[]> = Result & { readonly count: number };

/** A value that PostgreSQL receives as JSON. */
export interface JsonParameter {
  toPostgres(): string;
}

export type SqlValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Uint8Array
  | JsonParameter
  | Fragment
  | readonly SqlValue[];

export interface QueryOptions {
  /** Keeps the statement prepared on its connection. Default: true with values, false without. */
  prepare?: boolean;
}

/**
 * Runs SQL. As a template tag, every `${value}` becomes a parameter and every fragment becomes part of the text;
 * a statement whose text never changes stays prepared.
 * @throws DatabaseError when PostgreSQL refuses the statement, ConnectionError when no answer arrives
 */
export interface Sql {
  <Result extends readonly object[] = Row[]>(
    strings: TemplateStringsArray,
    ...values: SqlValue[]
  ): Promise<Rows<Result>>;
  /** Runs a text with `$1`, `$2`, …; without values it may hold several statements. */
  query<Result extends readonly object[] = Row[]>(
    text: string,
    values?: readonly SqlValue[],
    options?: QueryOptions,
  ): Promise<Rows<Result>>;
  json(value: unknown): JsonParameter;
}

export interface Statement {
  text: string;
  values: readonly SqlValue[];
  prepare: boolean;
}

/** Runs one statement on some connection. */
export type RunStatement = (statement: Statement) => Promise<QueryResult<Row>>;

/** Makes the template tag around a function that runs one statement. */
export function createSql(run: RunStatement): Sql {
  async function rowsOf<Result extends readonly object[]>(statement: Statement): Promise<Rows<Result>> {
    const result = await run(statement);
    // Several statements in one text give several results: the last one counts.
    const { rows, rowCount } = Array.isArray(result) ? (result.at(-1) as QueryResult<Row>) : result;
    return Object.defineProperty(rows, "count", { value: rowCount ?? 0 }) as unknown as Rows<Result>;
  }

  const tag = async <Result extends readonly object[]>(
    strings: TemplateStringsArray,
    ...values: SqlValue[]
  ) => await rowsOf<Result>(statementOf(strings, values));
  return Object.assign(tag, {
    query: <Result extends readonly object[]>(
      text: string,
      values: readonly SqlValue[] = [],
      { prepare = values.length > 0 }: QueryOptions = {},
    ) => rowsOf<Result>({ text, values, prepare }),
    json,
  });
}

/** Marks a value as JSON. Arrays and strings need it; without it an array becomes an array of PostgreSQL. */
export function json(value: unknown): JsonParameter {
  return { toPostgres: () => JSON.stringify(value) };
}

/** A piece of a statement, with its own parameters. */
export function fragment(strings: TemplateStringsArray, ...values: SqlValue[]): Fragment {
  return template(strings, ...values);
}

/** A quoted name of a table or column. */
export function identifier(name: string): Fragment {
  return raw(escapeIdentifier(name));
}

/** The texts of templates without fragments: each stands once in the code. */
const texts = new WeakMap<TemplateStringsArray, string>();

function statementOf(strings: TemplateStringsArray, values: SqlValue[]): Statement {
  if (values.some((value) => value === undefined)) {
    throw new TypeError(`A parameter of the statement is undefined: ${strings.join("…")}`);
  }
  if (values.some((value) => value instanceof Fragment)) {
    const composed = template(strings, ...values);
    // Fragments with parameters come in many lengths; prepared, each length would stay on the connection.
    const prepare = values.every((value) => !(value instanceof Fragment) || value.values.length === 0);
    return { text: composed.text, values: composed.values as SqlValue[], prepare };
  }
  let text = texts.get(strings);
  if (text === undefined) texts.set(strings, (text = template(strings, ...values).text));
  return { text, values, prepare: true };
}
