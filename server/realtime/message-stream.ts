import type { Logger } from "pino";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import type { Sql } from "../../supabase/functions/_shared/database/sql.ts";
import { type Mark, type Message, MessageTable } from "./message-table.ts";
import { type LogEntry, openWriteAheadLog, type WriteAheadLog } from "./write-ahead-log.ts";

export type { Message } from "./message-table.ts";

export type MessageListener = (message: Message) => void;

/** What a transaction wrote into the log itself, by `pg_logical_emit_message`. */
export type LogMessageListener = (content: string) => void;

export interface MessageStreamOptions {
  sql: Pool;
  databaseUrl: string;
  log: Logger;
  /** Reads the table again and again even where the log could be followed. */
  polling?: boolean;
  pollMilliseconds?: number;
  checkpointMilliseconds?: number;
}

const publication = "supabase_realtime_messages";
const firstConnectionMilliseconds = 3_000;
const reachMilliseconds = 2_000;
const longestRetryMilliseconds = 1_000;
const cleaningMilliseconds = 10 * 60_000;
const keptHours = 24;

const textDecoder = new TextDecoder();

/** What follows the log: its connection, and what it brought before the table was read up to where it begins. */
interface Following {
  log: WriteAheadLog;
  held: Message[] | undefined;
}

/**
 * Every message that is committed from `start` on, once, in the order of commits. The write-ahead log brings
 * them; while it is not connected, and where it cannot be followed, the table is read for what is new, by the
 * same bookkeeping that finds what a gap of the log left out.
 */
export class MessageStream {
  readonly #sql: Sql;
  readonly #table: MessageTable;
  readonly #databaseUrl: string;
  readonly #log: Logger;
  readonly #polling: boolean;
  readonly #pollMilliseconds: number;
  readonly #checkpointMilliseconds: number;
  readonly #listeners = new Set<{ prefix: string; listener: MessageListener }>();
  readonly #logListeners = new Set<{ prefix: string; listener: LogMessageListener }>();
  /** Ids that were delivered and that the table would show again, with the time at which they were committed at the latest. */
  readonly #seen = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #changed = new Signal();
  #mark: Mark | undefined;
  #following: Following | undefined;
  #running: Promise<unknown> = Promise.resolve();
  #cleaning: Promise<void> | undefined;
  #cleaner: NodeJS.Timeout | undefined;
  #isReading = true;

  constructor(options: MessageStreamOptions) {
    this.#sql = options.sql;
    this.#table = new MessageTable(options.sql);
    this.#databaseUrl = options.databaseUrl;
    this.#log = options.log;
    this.#polling = options.polling ?? false;
    this.#pollMilliseconds = options.pollMilliseconds ?? 200;
    this.#checkpointMilliseconds = options.checkpointMilliseconds ?? 10_000;
  }

  /** Calls back for every message to a topic that begins so; returns how to end that. */
  on(topicPrefix: string, listener: MessageListener): () => void {
    const entry = { prefix: topicPrefix, listener };
    this.#listeners.add(entry);
    return () => this.#listeners.delete(entry);
  }

  /** Calls back for every such message of the log. Those that are written while it is not read are lost. */
  onLogMessage(prefix: string, listener: LogMessageListener): void {
    this.#logListeners.add({ prefix, listener });
  }

  /** Whether messages come from the log at this moment. */
  get isLive(): boolean {
    return this.#following !== undefined && this.#following.held === undefined;
  }

  async start(): Promise<void> {
    this.#mark = await this.#table.mark();
    await this.#skipOldMessages(this.#mark);
    const obstacle = this.#polling ? "polling was asked for" : await this.#table.obstacleToLog(publication);
    const loops = [this.#read()];
    if (obstacle !== undefined) {
      this.#log.warn(
        { reason: obstacle, poll_milliseconds: this.#pollMilliseconds },
        "realtime polls the database: the write-ahead log cannot be followed",
      );
    } else loops.push(this.#follow());
    this.#running = Promise.all(loops);
    this.#cleaner = setInterval(() => this.#clean(), cleaningMilliseconds);
    this.#cleaner.unref();

    if (obstacle === undefined) await this.#waitUntilLive();
  }

  /**
   * A transaction that is running, even in another database of the server, keeps the mark before messages that were
   * committed long ago: those are not delivered.
   */
  async #skipOldMessages(mark: Mark): Promise<void> {
    for (;;) {
      const reading = await this.#table.readSince(mark, this.#seen.keys());
      for (const { id } of reading.messages) this.#seen.set(id, reading.readAt);
      if (reading.isComplete) return;
    }
  }

  /** For speed alone, so it may fail: until then messages arrive by polling. */
  async #waitUntilLive(): Promise<void> {
    const deadline = Date.now() + firstConnectionMilliseconds;
    while (!this.isLive && Date.now() < deadline) await this.#changed.wait(100);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    clearInterval(this.#cleaner);
    this.#changed.notify();
    await this.#running;
    await this.#cleaning;
  }

  /** Keeps a connection to the log, as long as we run. */
  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.#followOnce(signal);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (failures++ === 0) {
          this.#log.warn({ err: error }, "realtime could not follow the write-ahead log; polling meanwhile");
        }
      }
      const wait = Math.min(longestRetryMilliseconds, 50 * 2 ** failures) * (0.5 + Math.random() / 2);
      await new Signal().wait(wait, signal);
    }
  }

  async #followOnce(signal: AbortSignal): Promise<void> {
    const held: Message[] = [];
    let following: Following | undefined;
    let committedAt = Date.now();
    const log = await openWriteAheadLog({
      url: this.#databaseUrl,
      sql: this.#sql,
      publication,
      signal,
      onEntry: (entry) => {
        if (entry.tag === "begin") committedAt = Number(entry.commitTime) / 1000;
        else if (entry.tag === "message") {
          this.#deliverLogMessage({ prefix: entry.prefix, content: textDecoder.decode(entry.content) });
        }
        const message = readMessage(entry);
        if (!message) return;
        // Rows may come before the connection is ours to see.
        const waiting = following ? following.held : held;
        if (waiting) waiting.push(message);
        else this.#deliver(message, committedAt);
      },
    });
    following = { log, held };
    this.#following = following;
    this.#changed.notify();
    const end = () => {
      log.close().catch((error: unknown) => {
        this.#log.warn({ err: error }, "the connection to the write-ahead log did not end cleanly");
      });
    };
    let closing: Promise<void> | undefined;
    const onAbort = () => (closing = log.close());
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    const reason = await log.closed;
    signal.removeEventListener("abort", onAbort);
    this.#following = undefined;
    this.#changed.notify();
    if (signal.aborted) await closing;
    else {
      end();
      this.#log.warn({ err: reason }, "realtime lost the write-ahead log; polling until it is back");
    }
  }

  /** Reads the table: all the time without the log, now and then with it, so that a gap is short when it comes. */
  async #read(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const following = this.#following;
      let wait: number;
      try {
        const isComplete = following ? await this.#checkpoint(following) : await this.#poll();
        if (isComplete) wait = following ? this.#checkpointMilliseconds : this.#pollMilliseconds;
        else wait = 0;
        if (!this.#isReading) this.#log.info({}, "realtime reads the database again");
        this.#isReading = true;
      } catch (error) {
        if (signal.aborted) return;
        if (this.#isReading) this.#log.warn({ err: error }, "realtime cannot read the database");
        this.#isReading = false;
        wait = 1000;
      }
      if (following === this.#following && wait > 0) await this.#changed.wait(wait, signal);
    }
  }

  async #poll(): Promise<boolean> {
    if (!this.#mark) return true;
    const reading = await this.#table.readSince(this.#mark, this.#seen.keys());
    for (const message of reading.messages) this.#deliver(message, reading.readAt);
    if (reading.isComplete) this.#advance(reading.mark);
    return reading.isComplete;
  }

  /**
   * Reads the table, waits until the log has brought whatever is as old, and delivers what it did not bring:
   * what was committed before it was connected. Only then may later messages of the log go out.
   */
  async #checkpoint(following: Following): Promise<boolean> {
    if (!this.#mark) return true;
    const reading = await this.#table.readSince(this.#mark, this.#seen.keys());
    const position = await this.#table.position();
    if (!(await following.log.reaches(position, reachMilliseconds))) {
      // The log is busy with something large. What it will bring it brings in order; what is before it cannot wait.
      if (following.held === undefined) return true;
      for (const message of reading.messages) this.#deliver(message, reading.readAt);
      return false;
    }
    const brought = new Set(following.held?.map(({ id }) => id));
    for (const message of reading.messages) {
      if (!brought.has(message.id)) this.#deliver(message, reading.readAt);
    }
    if (!reading.isComplete) return false;
    this.#advance(reading.mark);
    const { held } = following;
    if (held) {
      following.held = undefined;
      for (const message of held) this.#deliver(message, reading.readAt);
      this.#log.info({}, "realtime follows the write-ahead log");
      this.#changed.notify();
    }
    return true;
  }

  #advance(mark: Mark): void {
    this.#mark = mark;
    for (const [id, committedAt] of this.#seen) {
      if (committedAt >= mark.horizonMilliseconds) break;
      this.#seen.delete(id);
    }
  }

  #deliver(message: Message, committedAt: number): void {
    if (this.#seen.has(message.id)) return;
    this.#seen.set(message.id, committedAt);
    for (const { prefix, listener } of this.#listeners) {
      if (!message.topic.startsWith(prefix)) continue;
      try {
        listener(message);
      } catch (error) {
        this.#log.error({ err: error }, "a listener of realtime messages failed");
      }
    }
  }

  #deliverLogMessage({ prefix, content }: { prefix: string; content: string }): void {
    for (const entry of this.#logListeners) {
      if (entry.prefix !== prefix) continue;
      try {
        entry.listener(content);
      } catch (error) {
        this.#log.error({ err: error, prefix }, "a listener of log messages failed");
      }
    }
  }

  #clean(): void {
    this.#cleaning ??= this.#table
      .deleteOlderThan(keptHours)
      .then(
        (deleted) => {
          if (deleted > 0) this.#log.info({ deleted }, "old realtime messages deleted");
        },
        (error: unknown) => this.#log.warn({ err: error }, "old realtime messages were not deleted"),
      )
      .finally(() => (this.#cleaning = undefined));
  }
}

function readMessage(entry: LogEntry): Message | undefined {
  // On Supabase the table has partitions, named after it.
  if (entry.tag !== "insert") return undefined;
  const { schema, name } = entry.relation;
  if (schema !== "realtime" || !name.startsWith("messages")) return undefined;
  const values = entry.new as Record<string, string | null>;
  const [id, topic, event] = [values["id"], values["topic"], values["event"]];
  if (!id || topic === null || topic === undefined || event === null || event === undefined) return undefined;
  if (values["extension"] !== "broadcast") return undefined;
  return {
    id,
    topic,
    event,
    private: values["private"] === "t",
    payload: values["payload"] ?? "null",
  };
}

/** Lets a loop sleep until something changes. */
class Signal {
  readonly #waiting = new Set<() => void>();

  notify(): void {
    for (const wake of this.#waiting) wake();
  }

  wait(milliseconds: number, abort?: AbortSignal): Promise<void> {
    if (abort?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        abort?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, milliseconds);
      this.#waiting.add(wake);
      abort?.addEventListener("abort", wake);
    });
  }
}
