/** Messages of PostgreSQL's logical decoding plugin `pgoutput`, protocol version 1. Pure. */

export type LogEntry =
  /** A transaction begins; the log has only what was committed, in the order of the commits. */
  | { kind: "begin"; committedAt: number }
  | { kind: "insert"; schema: string; table: string; values: Map<string, string | null> }
  /** What `pg_logical_emit_message` wrote. */
  | { kind: "message"; prefix: string; content: string }
  | { kind: "other" };

interface Relation {
  schema: string;
  table: string;
  columns: string[];
}

/** PostgreSQL counts from 2000. */
const epochMilliseconds = Date.UTC(2000, 0, 1);

export function readTime(microseconds: bigint): number {
  return epochMilliseconds + Number(microseconds / 1000n);
}

export function writeTime(milliseconds: number): bigint {
  return BigInt(milliseconds - epochMilliseconds) * 1000n;
}

/** Knows the tables that a connection has described so far: rows name them by number. */
export class LogDecoder {
  readonly #relations = new Map<number, Relation>();

  decode(data: Buffer): LogEntry {
    switch (String.fromCharCode(data[0] ?? 0)) {
      case "B":
        return { kind: "begin", committedAt: readTime(data.readBigInt64BE(9)) };
      case "R":
        this.#relations.set(data.readUInt32BE(1), readRelation(data));
        return { kind: "other" };
      case "I":
        return this.#readInsert(data);
      case "M":
        return readMessage(data);
      default:
        return { kind: "other" };
    }
  }

  #readInsert(data: Buffer): LogEntry {
    const relation = this.#relations.get(data.readUInt32BE(1));
    if (!relation) throw new Error("The log has a row of a table that it has not described.");
    const { schema, table, columns } = relation;
    return { kind: "insert", schema, table, values: readRow(data, 6, columns) };
  }
}

function readMessage(data: Buffer): LogEntry {
  // Before it, one byte of flags and a position.
  const end = data.indexOf(0, 10);
  const length = data.readUInt32BE(end + 1);
  const content = data.toString("utf8", end + 5, end + 5 + length);
  return { kind: "message", prefix: data.toString("utf8", 10, end), content };
}

function readRelation(data: Buffer): Relation {
  let offset = 5;
  function text(): string {
    const end = data.indexOf(0, offset);
    const read = data.toString("utf8", offset, end);
    offset = end + 1;
    return read;
  }
  const [schema, table] = [text(), text()];
  const count = data.readUInt16BE(offset + 1);
  offset += 3;
  const columns: string[] = [];
  for (let index = 0; index < count; index++) {
    offset += 1;
    columns.push(text());
    offset += 8;
  }
  return { schema, table, columns };
}

function readRow(data: Buffer, start: number, columns: string[]): Map<string, string | null> {
  const values = new Map<string, string | null>();
  const count = data.readUInt16BE(start);
  let offset = start + 2;
  for (let index = 0; index < count; index++) {
    const kind = String.fromCharCode(data[offset++] ?? 0);
    let value: string | null = null;
    if (kind === "t") {
      const length = data.readUInt32BE(offset);
      offset += 4;
      value = data.toString("utf8", offset, offset + length);
      offset += length;
    } else if (kind !== "n" && kind !== "u") throw new Error("The log has a value that is no text.");
    const column = columns[index];
    if (column !== undefined) values.set(column, value);
  }
  return values;
}
