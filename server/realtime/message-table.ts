import { type Sql } from "../../supabase/functions/_shared/database/sql.ts";

/** A broadcast as it stands in `realtime.messages`. */
export interface Message {
  id: string;
  topic: string;
  event: string;
  private: boolean;
  /** JSON, as text. */
  payload: string;
}

/**
 * How far the table has been read. Neither time nor number says that: rows become visible in the order of
 * commits, not of inserts. So the oldest transaction still running is kept, and what it, or any later one,
 * inserted may be new, unless its id was seen.
 */
export interface Mark {
  /** Lowest transaction id that was running. */
  transaction: string;
  /** Before every transaction that was running had begun; bounds the search by index. */
  horizon: string;
  horizonMilliseconds: number;
}

export interface Reading {
  messages: Message[];
  /** Where to read on, unless there was more than one reading takes. */
  mark: Mark;
  isComplete: boolean;
  readAt: number;
}

const rowsPerReading = 10_000;
const rowsPerDeletion = 5_000;
const deletionsPerRound = 100;

/** `realtime.messages`, read without the write-ahead log: to bridge gaps of the log, or instead of it. */
export class MessageTable {
  private readonly sql: Sql;

  constructor(sql: Sql) {
    this.sql = sql;
  }

  /** Whether the log can be followed; if not, why. */
  async obstacleToLog(publication: string): Promise<string | undefined> {
    const [row] = await this.sql<{ level: string; published: boolean; permitted: boolean }[]>`
      select current_setting('wal_level') as level,
             exists (select from pg_catalog.pg_publication where pubname = ${publication}) as published,
             exists (select from pg_catalog.pg_roles
                      where rolname = current_user and (rolsuper or rolreplication)) as permitted`;
    if (row?.level !== "logical") return `wal_level is ${row?.level ?? "unknown"}, not logical`;
    if (!row.published) return `there is no publication ${publication}`;
    return row.permitted ? undefined : "the database user may not replicate";
  }

  /** From here on, without what there is already. */
  async mark(): Promise<Mark> {
    const { horizon, horizonMilliseconds } = await this.#horizon();
    const [row] = await this.sql<{ transaction: string }[]>`
      select pg_snapshot_xmin(pg_current_snapshot())::text as transaction`;
    if (!row) throw new Error("The database did not say which transactions run.");
    return { transaction: row.transaction, horizon, horizonMilliseconds };
  }

  /**
   * What was committed since the mark, except what was seen; in the order in which transactions began, and
   * within one, of its statements.
   */
  async readSince(mark: Mark, seen: Iterable<string>): Promise<Reading> {
    // Asked before the snapshot is taken: who runs then, either ran at this moment or began later.
    const { horizon, horizonMilliseconds, readAt } = await this.#horizon();
    const rows = await this.sql<(Message & { transaction: string; position: string | null })[]>`
      with known as materialized (
        select pg_snapshot_xmin(pg_current_snapshot())::text as transaction,
               pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next
      ), candidate as (
        select message.id, message.topic, message.event, coalesce(message.private, false) as private,
               coalesce(message.payload, 'null') as payload, message.inserted_at,
               -- Rows keep the lower half of a transaction's id.
               known.next - ((known.next - message.xmin::text::bigint) & 4294967295) as inserted_by,
               message.cmin::text::bigint as statement, message.ctid as place
          from realtime.messages as message, known
               -- The column has no time zone: that of the server's sessions, or UTC.
         where message.inserted_at >= least(${mark.horizon}::timestamptz::timestamp,
                                            ${mark.horizon}::timestamptz at time zone 'utc')
           and message.extension = 'broadcast' and message.event is not null
           and message.id not in (select unnest(string_to_array(${[...seen].join(",")}, ',')::uuid[]))
      ), missed as (
        select candidate.*, row_number() over (order by inserted_at, inserted_by, statement, place) as position
          from candidate
         where inserted_by >= ${mark.transaction}::bigint
         order by position
         limit ${rowsPerReading}
      )
      select known.transaction, missed.position::text, missed.id::text, missed.topic, missed.event, missed.private,
             missed.payload::text
        from known left join missed on true
       order by missed.position`;
    const transaction = rows[0]?.transaction;
    if (transaction === undefined) throw new Error("The database did not say which transactions run.");
    const messages = rows.filter((row) => row.position !== null);
    return {
      messages: messages.map(({ id, topic, event, private: isPrivate, payload }) => {
        return { id, topic, event, private: isPrivate, payload };
      }),
      mark: { transaction, horizon, horizonMilliseconds },
      isComplete: messages.length < rowsPerReading,
      readAt,
    };
  }

  /** A position of the log after everything that is visible now. Writes there, so that the log does get so far. */
  async position(): Promise<string> {
    const [row] = await this.sql<{ position: string }[]>`
      select pg_logical_emit_message(true, 'darkroom', '')::text as position`;
    if (!row) throw new Error("The database did not say where its log ends.");
    return row.position;
  }

  /** Deletes what nobody will ask for any more, a batch at a time; any number of hosts may do it at once. */
  async deleteOlderThan(hours: number): Promise<number> {
    let deleted = 0;
    for (let round = 0; round < deletionsPerRound; round++) {
      const { count } = await this.sql`
        delete from realtime.messages
         where id in (select id from realtime.messages
                       where inserted_at < now() - make_interval(hours => ${hours})
                       order by inserted_at limit ${rowsPerDeletion} for update skip locked)`;
      deleted += count;
      if (count < rowsPerDeletion) break;
    }
    return deleted;
  }

  async #horizon(): Promise<{ horizon: string; horizonMilliseconds: number; readAt: number }> {
    // A transaction is listed a moment after the time that it takes for its beginning: hence the seconds.
    const [row] = await this.sql<{ horizon: string; milliseconds: number; now: number }[]>`
      select horizon::text, extract(epoch from horizon)::float8 * 1000 as milliseconds,
             extract(epoch from now())::float8 * 1000 as now
        from (
          select case when pg_has_role(current_user, 'pg_read_all_stats', 'usage')
                 then least(now(), (
                   select min(xact_start) from pg_catalog.pg_stat_activity
                    where datname = current_database() and backend_type not in ('walsender', 'autovacuum worker')
                 )) - interval '5 seconds'
                 -- Who may not see when the transactions of others began assumes that none takes so long.
                 else now() - interval '5 minutes' end as horizon
        ) as running`;
    if (!row) throw new Error("The database did not say how long transactions run.");
    return { horizon: row.horizon, horizonMilliseconds: row.milliseconds, readAt: row.now };
  }
}
