import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { LogicalReplicationService, type Pgoutput, PgoutputPlugin } from "pg-logical-replication";
import { driverUrl } from "../../supabase/functions/_shared/database/driver.ts";
import type { Sql } from "../../supabase/functions/_shared/database/sql.ts";

export type LogEntry = Pgoutput.Message;

export interface WriteAheadLogOptions {
  url: string;
  /** Other connections to the same database. */
  sql: Sql;
  publication: string;
  /** Values of rows are text, as PostgreSQL writes them. */
  onEntry(entry: LogEntry): void;
  /** Ends opening, which waits for every transaction that is writing at the moment. */
  signal: AbortSignal;
}

export interface WriteAheadLog {
  /** Whether everything that was committed before this position has been read; false when that takes too long. */
  reaches(position: string, timeoutMilliseconds: number): Promise<boolean>;
  /** Why reading ended. */
  closed: Promise<Error>;
  close(): Promise<void>;
}

const applicationName = "darkroom-realtime-log";
const connectMilliseconds = 5_000;
const closeMilliseconds = 1_000;
const statusSeconds = 10;
const silenceMilliseconds = 30_000;

/** Reads what is committed from now on. */
export async function openWriteAheadLog(options: WriteAheadLogOptions): Promise<WriteAheadLog> {
  options.signal.throwIfAborted();
  const reader = new Reader(options);
  const abort = () => void reader.close();
  options.signal.addEventListener("abort", abort);
  try {
    await reader.started;
    options.signal.throwIfAborted();
    return reader;
  } catch (error) {
    await reader.close();
    throw error;
  } finally {
    options.signal.removeEventListener("abort", abort);
  }
}

class Reader implements WriteAheadLog {
  readonly started: Promise<void>;
  readonly closed: Promise<Error>;
  readonly #service: LogicalReplicationService;
  readonly #sql: Sql;
  readonly #plugin: TextPlugin;
  readonly #onEntry: (entry: LogEntry) => void;
  readonly #watch: NodeJS.Timeout;
  #markStopped = () => {};
  #read = 0n;
  #heardAt = Date.now();
  #failure: Error | undefined;
  #isOpen = true;

  constructor({ url, sql, publication, onEntry }: WriteAheadLogOptions) {
    this.#sql = sql;
    this.#plugin = new TextPlugin(publication);
    this.#onEntry = onEntry;
    this.#service = new LogicalReplicationService(
      {
        connectionString: driverUrl(url).href,
        application_name: applicationName,
        connectionTimeoutMillis: connectMilliseconds,
        keepAlive: true,
      },
      { acknowledge: { auto: false, timeoutSeconds: 0 } },
    );
    this.#service.on("error", (error) => (this.#failure ??= error));
    this.#service.on("data", (_lsn, entry: LogEntry | Error) => this.#receive(entry));
    this.#service.on("heartbeat", (lsn, _time, shouldRespond) => {
      this.#heardAt = Date.now();
      this.#read = readPosition(lsn);
      if (shouldRespond) return this.#sendStatus(false);
    });
    const start = new Promise<void>((resolve) => this.#service.on("start", () => resolve()));
    // Ends when replication ends, for whatever reason.
    const subscription = this.#service
      .subscribe(this.#plugin, `darkroom_realtime_${randomBytes(8).toString("hex")}`)
      .then(
        () => this.#failure ?? new Error("The server ended replication."),
        (error: unknown) => (this.#failure ??= error instanceof Error ? error : new Error(String(error))),
      );
    // The subscription of a client that is ended while it connects never settles.
    const stopped = new Promise<Error>((resolve) => {
      this.#markStopped = () => resolve(this.#failure ?? new Error("The log was closed."));
    });
    this.closed = Promise.race([subscription, stopped]).then((reason) => {
      this.#isOpen = false;
      clearInterval(this.#watch);
      return reason;
    });
    this.started = Promise.race([
      start,
      this.closed.then((reason) => {
        throw reason;
      }),
    ]);
    // Also where nobody waits for it: a reader that is closed while it starts.
    this.started.catch(() => undefined);
    this.#watch = setInterval(() => this.#endSilence(), statusSeconds * 1000);
    this.#watch.unref();
  }

  async reaches(position: string, timeoutMilliseconds: number): Promise<boolean> {
    const wanted = readPosition(position);
    const deadline = Date.now() + timeoutMilliseconds;
    for (let waited = 5; this.#isOpen && this.#read < wanted; waited = Math.min(waited * 2, 100)) {
      if (Date.now() > deadline) return false;
      await this.#sendStatus(true);
      await pause(waited);
    }
    return this.#isOpen;
  }

  /** The slot is temporary: it ends with the server's process, which is not left to notice that we are gone. */
  async close(): Promise<void> {
    const { processId } = this.#plugin;
    await this.#stopService();
    const ended = processId === undefined ? this.closed : this.#endServerProcess(processId);
    await Promise.race([ended, pause(closeMilliseconds, undefined, { ref: false })]);
  }

  /** Also ends the making of a slot, which waits for transactions that are writing. */
  async #endServerProcess(processId: number): Promise<void> {
    const sql = this.#sql;
    try {
      await sql`
        select pg_terminate_backend(pid, ${closeMilliseconds}) from pg_stat_activity
         where pid = ${processId} and backend_type = 'walsender' and application_name = ${applicationName}`;
    } catch {
      // The database is away, and the slot with it.
    }
  }

  #receive(entry: LogEntry | Error): void {
    this.#heardAt = Date.now();
    if (entry instanceof Error) this.#end(entry);
    else this.#onEntry(entry);
  }

  #endSilence(): void {
    if (Date.now() - this.#heardAt > silenceMilliseconds) {
      this.#end(new Error("The server has been silent for too long."));
    } else void this.#sendStatus(true);
  }

  #end(reason: Error): void {
    this.#failure ??= reason;
    void this.#stopService();
  }

  async #stopService(): Promise<void> {
    await this.#service.stop();
    this.#markStopped();
  }

  /** Says how far the log is no longer needed; the answer, if asked for, says how far it was sent. */
  async #sendStatus(askForAnswer: boolean): Promise<void> {
    if (!this.#isOpen) return;
    // The service adds one. A server that shuts down waits for exactly the position that it has sent.
    const position = this.#read > 0n ? this.#read - 1n : 0n;
    await this.#service.acknowledge(writePosition(position), askForAnswer);
  }
}

/** Reads rows as text, from a slot that is made for this connection and ends with it. */
class TextPlugin extends PgoutputPlugin {
  /** Of the server's process that sends the log. */
  processId: number | undefined;

  constructor(publication: string) {
    super({ protoVersion: 1, publicationNames: [publication], messages: true });
  }

  override async start(client: Client, slotName: string): Promise<unknown> {
    // The service listens for errors only once the connection is made; this one stays for good.
    client.on("error", () => undefined);
    const [own] = (await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid")).rows;
    this.processId = own?.pid;
    const created = await client.query<{ consistent_point: string }>(
      `CREATE_REPLICATION_SLOT ${slotName} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`,
    );
    return await super.start(client, slotName, created.rows[0]?.consistent_point ?? "0/0");
  }

  /** An error is an entry too: thrown here it would end the process. */
  override parse(buffer: Buffer): LogEntry {
    try {
      const entry = super.parse(buffer);
      if (entry.tag === "relation") {
        for (const column of entry.columns) column.parser = (text: unknown) => text;
      }
      return entry;
    } catch (error) {
      return error as never;
    }
  }
}

function writePosition(position: bigint): string {
  return `${(position >> 32n).toString(16)}/${(position & 0xffffffffn).toString(16)}`.toUpperCase();
}

/** `16/B374D848`: the two halves of a number of 64 bits. */
function readPosition(text: string): bigint {
  const [high = "0", low = "0"] = text.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
