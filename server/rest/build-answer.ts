export type Counted = "exact" | "planned" | "estimated" | undefined;

/** The form of an answer. */
export interface Shape {
  counted: Counted;
  /** Without it nothing is read back: a caller who may only write can. */
  representation: boolean;
  /** The body is the first row itself, not an array. */
  single: boolean;
  stripNulls: boolean;
  csv: boolean;
}

export const maxBodyBytes = 64 * 1024 * 1024;

/** One row about the rows of `page`. The head is the first line of a CSV. */
export function answerOf(
  page: string,
  total: string,
  shape: Shape,
  { head = "null", merged = "null" }: { head?: string; merged?: string } = {},
): string {
  const body = shape.representation ? bodyOf(shape, head) : "null";
  const isTooLong = shape.representation ? `octet_length(${body}) > ${maxBodyBytes}` : "false";
  // A longer body would be held several times over in this process, which serves others too.
  return (
    `select case when not (${isTooLong}) then ${body} end as body, ${isTooLong} as is_too_long, count(*)::text as rows, ` +
    `(${total})::text as total, ${merged} as merged from (${page}) as page_row`
  );
}

function bodyOf({ single, stripNulls, csv }: Shape, head: string): string {
  if (csv) {
    // The text of a row is a line of CSV between its brackets.
    const line = "substring(page_row::text, 2, length(page_row::text) - 2)";
    return `${head} || E'\\n' || coalesce(string_agg(${line}, E'\\n'), '')`;
  }
  // With `.*` it is the row, even when one of its columns has the same name.
  const rows = stripNulls ? "json_strip_nulls(json_agg(page_row.*))" : "json_agg(page_row.*)";
  return single ? `(${rows} -> 0)::text` : `coalesce(${rows}, '[]')::text`;
}

/** The names of columns as a line of CSV. */
export function headOf(names: string[]): string {
  return names.map((name) => (/[",\n\r]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name)).join(",");
}
