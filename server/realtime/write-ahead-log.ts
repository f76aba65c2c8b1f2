import { randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import postgres, { type Sql } from "postgres";
import { type LogEntry, LogDecoder, writeTime } from "./pgoutput.ts";

export interface WriteAheadLogOptions {
  url: string;
  publication: string;
  onEntry(entry: LogEntry): void;
  /** Gives up opening, which waits for every transaction that is writing at the moment. */
  signal: AbortSignal;
}

export interface WriteAheadLog {
  /** Whether everything that was committed before this position has been read; false when that takes too long. */
  reaches(position: string, timeoutMilliseconds: number): Promise<boolean>;
  /** Why reading ended. */
  closed: Promise<Error>;
  close(): Promise<void>;
}

const statusMilliseconds = 10_000;
const silenceMilliseconds = 30_000;

/**
 * Reads what is committed from now on. Not `sql.subscribe` of postgres.js, though it does the same: when its
 * reconnecting fails, as it does while a database restarts, nobody can catch the error and the process ends; and
 * it does not tell how far it has read, without which nothing can be caught up after a gap.
 */
export async function openWriteAheadLog(options: WriteAheadLogOptions): Promise<WriteAheadLog> {
  const { url, publication, signal } = options;
  signal.throwIfAborted();
  const sql = postgres(url, {
    max: 1,
    fetch_types: false,
    idle_timeout: 0,
    max_lifetime: null,
    connect_timeout: 10,
    onnotice: () => undefined,
    connection: { application_name: "darkroom-realtime", replication: "database" },
  });
  // Temporary: it ends with the connection, so that a host which died keeps no log from being removed.
  const slot = `darkroom_realtime_${randomBytes(8).toString("hex")}`;
  try {
    // These commands are not SQL, and their words are known in capitals alone.
    const creation = sql.unsafe<{ consistent_point: string }[]>(
      `CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT`,
    );
    const cancel = () => creation.cancel();
    signal.addEventListener("abort", cancel);
    const [created] = await creation.finally(() => signal.removeEventListener("abort", cancel));
    signal.throwIfAborted();
    const stream = await sql
      .unsafe(
        `START_REPLICATION SLOT ${slot} LOGICAL ${created?.consistent_point ?? "0/0"} ` +
          `(proto_version '1', publication_names '${publication}', messages 'true')`,
      )
      .writable();
    // Typed as one way, but replication goes both ways on one stream.
    return new Reader(sql, slot, stream as Duplex, options);
  } catch (error) {
    await sql.end({ timeout: 1 });
    throw error;
  }
}

class Reader implements WriteAheadLog {
  readonly closed: Promise<Error>;
  readonly #sql: Sql;
  readonly #slot: string;
  readonly #stream: Duplex;
  readonly #decoder = new LogDecoder();
  readonly #onEntry: (entry: LogEntry) => void;
  readonly #timer: NodeJS.Timeout;
  #read = 0n;
  #heardAt = Date.now();
  #isOpen = true;

  constructor(sql: Sql, slot: string, stream: Duplex, { onEntry }: WriteAheadLogOptions) {
    this.#sql = sql;
    this.#slot = slot;
    this.#stream = stream;
    this.#onEntry = onEntry;
    let failure: Error | undefined;
    this.closed = new Promise((resolve) => {
      stream.once("close", () => {
        this.#isOpen = false;
        clearInterval(this.#timer);
        resolve(failure ?? new Error("The server ended replication."));
      });
    });
    stream.on("error", (error: Error) => (failure = error));
    stream.on("data", (data: Buffer) => {
      try {
        this.#receive(data);
      } catch (error) {
        stream.destroy(error instanceof Error ? error : new Error(String(error)));
      }
    });
    this.#timer = setInterval(() => this.#keepAlive(), statusMilliseconds);
    this.#timer.unref();
  }

  async reaches(position: string, timeoutMilliseconds: number): Promise<boolean> {
    const wanted = readPosition(position);
    const deadline = Date.now() + timeoutMilliseconds;
    for (let waited = 5; this.#isOpen && this.#read < wanted; waited = Math.min(waited * 2, 100)) {
      if (Date.now() > deadline) return false;
      this.#sendStatus();
      await pause(waited);
    }
    return this.#isOpen;
  }

  async close(): Promise<void> {
    if (this.#isOpen) {
      this.#stream.end();
      await Promise.race([this.closed, pause(1000, undefined, { ref: false })]);
    }
    // Gone when this returns, rather than when the server's process notices: a database with a slot cannot be dropped.
    await Promise.race([
      this.#sql.unsafe(`DROP_REPLICATION_SLOT ${this.#slot} WAIT`).catch(() => undefined),
      pause(1000, undefined, { ref: false }),
    ]);
    await this.#sql.end({ timeout: 1 });
  }

  #receive(data: Buffer): void {
    this.#heardAt = Date.now();
    const kind = String.fromCharCode(data[0] ?? 0);
    if (kind === "w") this.#onEntry(this.#decoder.decode(data.subarray(25)));
    else if (kind === "k") {
      this.#read = data.readBigUInt64BE(1);
      if (data[17] === 1) this.#sendStatus(false);
    }
  }

  #keepAlive(): void {
    if (Date.now() - this.#heardAt > silenceMilliseconds) {
      this.#stream.destroy(new Error("The server has been silent for too long."));
    } else this.#sendStatus();
  }

  /** Says how far the log is no longer needed; the answer, if asked for, says how far it was sent. */
  #sendStatus(askForAnswer = true): void {
    if (!this.#isOpen || !this.#stream.writable) return;
    const status = Buffer.alloc(34);
    status.write("r");
    for (const offset of [1, 9, 17]) status.writeBigUInt64BE(this.#read, offset);
    status.writeBigInt64BE(writeTime(Date.now()), 25);
    status[33] = askForAnswer ? 1 : 0;
    this.#stream.write(status);
  }
}

/** `16/B374D848`: the two halves of a number of 64 bits. */
function readPosition(text: string): bigint {
  const [high = "0", low = "0"] = text.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}
