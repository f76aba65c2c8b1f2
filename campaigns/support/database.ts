/** The database behind the hosts, for setting faults and for checking. */
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { openPool } from "../../supabase/functions/_shared/database/pool.ts";
import type { SqlValue } from "../../supabase/functions/_shared/database/sql.ts";

export type Row = Record<string, unknown>;

export interface DatabaseSession {
  query<Result extends object = Row>(text: string, values?: unknown[]): Promise<Result[]>;
  close(): Promise<void>;
}

/** One connection as the owner. Close it before a fault that would end it. */
export function openSession(url: string, name = "campaign"): DatabaseSession {
  const sql = openPool({
    url,
    name,
    connections: 1,
    settings: { statement_timeout: "600000" },
    deadlineMilliseconds: Infinity,
  });
  return {
    async query<Result extends object>(text: string, values: unknown[] = []) {
      return [...(await sql.query<Result[]>(text, values as SqlValue[]))] as Result[];
    },
    close: () => sql.end(),
  };
}

export async function withSession<Result>(
  url: string,
  work: (session: DatabaseSession) => Promise<Result>,
): Promise<Result> {
  const session = openSession(url);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

/**
 * Waits until the database answers a start-up message by asking for a password: it accepts connections.
 * Without the driver, whose own waiting is among what is measured.
 */
export async function acceptsConnections(url: string, limitMilliseconds: number): Promise<boolean> {
  for (const deadline = Date.now() + limitMilliseconds; Date.now() < deadline; await pause(10)) {
    if (await asksForPassword(url)) return true;
  }
  return false;
}

async function asksForPassword(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.on("error", () => finish(false));
    socket.on("close", () => finish(false));
    socket.on("connect", () => socket.write(startupMessage()));
    // "R": a request for authentication. While the database starts or recovers it is "E".
    socket.on("data", (bytes) => finish(bytes.toString("latin1", 0, 1) === "R"));
  });
}

function startupMessage(): Buffer {
  const settings = Buffer.from("user\0postgres\0database\0postgres\0\0");
  const head = Buffer.alloc(8);
  head.writeInt32BE(8 + settings.length, 0);
  head.writeInt32BE(196_608, 4);
  return Buffer.concat([head, settings]);
}
