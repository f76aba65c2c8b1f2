import { stringify } from "csv-stringify/sync";

/** Rows as RFC 4180 has it. What a spreadsheet would run as a formula is made text; numbers stay numbers. */
export function asCsv<Row extends object>(
  rows: readonly Row[],
  columns: readonly (keyof Row & string)[],
): string {
  return stringify([...rows], {
    header: true,
    columns: [...columns],
    record_delimiter: "windows",
    escape_formulas: true,
  });
}
