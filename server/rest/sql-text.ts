/**
 * A statement of one row: `body` (as text), `rows` in it, `total` matching or written ones (null if not asked),
 * `merged` of an upsert. Its identifiers come from the catalog, its values are parameters.
 */
export interface Statement {
  text: string;
  values: string[];
  /** Its rows are counted by the planner: what to explain, and with which values. */
  estimate?: { text: string; values: string[] };
}

/** Every value goes as text and is cast in SQL: the driver has no say in how values are written. */
export class Parameters {
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

export function tableOf(name: string): string {
  return `public.${quoteIdentifier(name)}`;
}

/** `{"a","b \"c\""}` */
export function arrayLiteral(values: string[]): string {
  return `{${values.map((value) => `"${value.replace(/["\\]/g, "\\$&")}"`).join(",")}}`;
}

/** `a int, b text`, for functions that turn JSON into rows. */
export function definitions(columns: { name: string; type: string }[]): string {
  return columns.map(({ name, type }) => `${quoteIdentifier(name)} ${type}`).join(", ");
}
