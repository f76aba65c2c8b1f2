import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { isOutcomeUnknown } from "../../supabase/functions/_shared/database/connection-error.ts";
import type { Pool } from "../../supabase/functions/_shared/database/pool.ts";
import { isRoleFault } from "../../supabase/functions/_shared/database/role-fault.ts";
import { fragment, identifier, type Sql } from "../../supabase/functions/_shared/database/sql.ts";
import type { Identity } from "../../supabase/functions/_shared/auth/identify.ts";
import { codeOf } from "../postgres/error-code.ts";
import { StorageError } from "./errors.ts";

/** As whom rows are read and written; policies on storage.objects decide what that reaches. */
export interface Actor {
  role: "anon" | "authenticated" | "service_role";
  claims: Record<string, unknown>;
  userId: string | undefined;
}

export const serviceActor: Actor = {
  role: "service_role",
  claims: { role: "service_role" },
  userId: undefined,
};

export function actorOf(identity: Identity): Actor {
  switch (identity.kind) {
    case "service":
      return serviceActor;
    case "user":
      return { role: "authenticated", claims: identity.claims, userId: identity.userId };
    case "public-key":
    case "nobody":
      return { role: "anon", claims: { role: "anon" }, userId: undefined };
    case "personal-access-token":
      // Tokens speak to functions, which know their scopes; storage would give them all or nothing.
      throw new StorageError("InvalidJWT");
  }
}

export interface Bucket {
  id: string;
  public: boolean;
  file_size_limit: number | null;
  allowed_mime_types: string[] | null;
}

export interface ObjectMetadata {
  eTag: string;
  size: number;
  mimetype: string;
  cacheControl: string;
  lastModified: string;
  contentLength: number;
  httpStatusCode: number;
  width?: number;
  height?: number;
}

export interface ObjectRow {
  id: string;
  bucket_id: string;
  name: string;
  owner: string | null;
  owner_id: string | null;
  /** Null in rows that others wrote by SQL: there is nothing to send. */
  version: string | null;
  metadata: Partial<ObjectMetadata> | null;
  user_metadata: Record<string, unknown> | null;
  created_at: Date;
  updated_at: Date;
  last_accessed_at: Date | null;
}

export interface ObjectToWrite {
  bucket: string;
  name: string;
  version: string;
  metadata: ObjectMetadata | Record<string, never>;
  userMetadata: Record<string, unknown> | undefined;
  ownerId: string | undefined;
}

export interface WriteRules {
  /** Whether an object of that name may be replaced. */
  upsert: boolean;
}

export interface ObjectPlace {
  bucket: string;
  name: string;
}

export interface Listing {
  prefix: string;
  limit: number;
  offset: number;
  search: string;
  column: "name" | "updated_at" | "created_at" | "last_accessed_at";
  order: "asc" | "desc";
}

/** What a bucket's store keeps under one id. */
export interface ContentPlace {
  bucket: string;
  version: string;
}

/**
 * The answer to a commit is lost, and so far the database does not say what became of it. No content that the change
 * adds or drops may be deleted.
 */
export class UnknownOutcome extends StorageError {
  readonly contents: readonly ContentPlace[];

  constructor(contents: readonly ContentPlace[], cause: unknown) {
    super("Unavailable", undefined, { cause });
    this.contents = contents;
  }
}

/** - `open`: a transaction may name it yet. - `unnamed`: no row names it, and none ever will. */
export type ContentState = "named" | "unnamed" | "open";

/** The rows behind buckets and objects. Where a commit's answer is lost, `write`, `move` and `remove` ask what became of it. */
export interface Catalogue {
  /** Whatever the caller's rights: a bucket's rules bind everybody. */
  bucket(id: string): Promise<Bucket | undefined>;
  buckets(actor: Actor, id?: string): Promise<Record<string, unknown>[]>;
  find(actor: Actor, bucket: string, name: string): Promise<ObjectRow | undefined>;
  /** An object that everybody reads who knows its URL, as far as it is delivered; whether its bucket is public is for the caller. */
  findPublic(bucket: string, name: string): Promise<ObjectRow | undefined>;
  /** Which of these names the actor can read. */
  existing(actor: Actor, bucket: string, names: string[]): Promise<Set<string>>;
  /**
   * Writes the row of an object whose content is stored already. Returns its id, and the version it replaced.
   * @throws StorageError `AccessDenied`, `ResourceAlreadyExists`, `ResourceLocked`; UnknownOutcome
   */
  write(actor: Actor, object: ObjectToWrite, rules: WriteRules): Promise<{ id: string; replaced?: string }>;
  /** Throws what `write` would throw now, and writes nothing: said before the content is sent, it saves sending it. */
  checkWrite(actor: Actor, bucket: string, name: string, rules: WriteRules): Promise<void>;
  /**
   * Gives the row another name, and the version under which its content is stored in the other bucket. Returns its
   * id; undefined when the object has changed since it was read, or may not be moved by this actor.
   * @throws StorageError `AccessDenied`, `ResourceAlreadyExists`, `ResourceLocked`; UnknownOutcome
   */
  move(actor: Actor, from: ObjectRow, to: ObjectPlace & { version: string }): Promise<string | undefined>;
  /** @throws UnknownOutcome */
  remove(actor: Actor, bucket: string, names: string[]): Promise<ObjectRow[]>;
  /** What the database says of content, by version. */
  statesOf(versions: string[]): Promise<Map<string, ContentState>>;
  list(actor: Actor, bucket: string, listing: Listing): Promise<Record<string, unknown>[]>;
}

/** What a change does, noted before its commit. */
interface Change<T> {
  result: T;
  /** The rows that it leaves; null for one that it deletes. */
  rows: Map<string, (ObjectPlace & { version: string }) | null>;
  /** Content that it adds or drops. */
  contents: ContentPlace[];
}

/** With what a call has taken by then, an answer comes within 35 seconds. */
const askingMilliseconds = 1_500;

/** Ends a transaction that was only a question. */
class Undo extends Error {}

/** `beforeCommit` hears of content that a change adds or drops while the transaction is open. */
export function createCatalogue(
  sql: Pool,
  beforeCommit: (contents: readonly ContentPlace[]) => Promise<void> = () => Promise.resolve(),
): Catalogue {
  async function as<T>(actor: Actor, work: (transaction: Sql) => Promise<T>): Promise<T> {
    try {
      return (await sql.transaction(async (transaction) => {
        await transaction`
          select set_config('role', ${actor.role}, true),
                 set_config('request.jwt.claims', ${JSON.stringify(actor.claims)}, true)`;
        return await work(transaction);
      })) as T;
    } catch (error) {
      throw refusal(error);
    }
  }

  async function change<T>(actor: Actor, work: (transaction: Sql) => Promise<Change<T>>): Promise<T> {
    let made: Change<T> | undefined;
    try {
      return await as(actor, async (transaction) => {
        made = undefined;
        const done = await work(transaction);
        await beforeCommit(done.contents);
        made = done;
        return done.result;
      });
    } catch (error) {
      const { result, rows, contents } = (made as Change<T> | undefined) ?? {};
      // Without a result no commit was sent.
      if (!rows || !contents || !isOutcomeUnknown(error)) throw error;
      if (!(await isCommitted(rows))) throw new UnknownOutcome(contents, error);
      return result as T;
    }
  }

  /** Whether the rows are as a change leaves them. False also when the database does not say so in time. */
  async function isCommitted(expected: Change<unknown>["rows"]): Promise<boolean> {
    if (expected.size === 0) return true;
    const asking = sql<{ id: string; bucket: string; name: string; version: string | null }[]>`
      select id, bucket_id as bucket, name, version from storage.objects
       where id = any(${[...expected.keys()]}::uuid[])`.catch(() => undefined);
    const tooLong = new AbortController();
    const late = pause(askingMilliseconds, undefined, { signal: tooLong.signal }).catch(() => undefined);
    const found = await Promise.race([asking, late]);
    tooLong.abort();
    if (!found) return false;
    const rows = new Map(found.map((row) => [row.id, row]));
    return [...expected].every(([id, wanted]) => {
      const row = rows.get(id);
      if (!row || !wanted) return !row && !wanted;
      return row.bucket === wanted.bucket && row.name === wanted.name && row.version === wanted.version;
    });
  }

  return {
    async bucket(id) {
      const [row] = await sql<Bucket[]>`
        select id, public, file_size_limit::float8 as file_size_limit, allowed_mime_types
          from storage.buckets where id = ${id}`;
      return row;
    },

    buckets: (actor, id) =>
      as(
        actor,
        async (transaction) =>
          await transaction<Record<string, unknown>[]>`
            select id, name, coalesce(owner_id, '') as owner, public, file_size_limit::float8 as file_size_limit,
                   allowed_mime_types, created_at, updated_at
              from storage.buckets where ${id ?? null}::text is null or id = ${id ?? null} order by name`,
      ),

    async find(actor, bucket, name) {
      const read = async (reader: Sql) => {
        const [row] = await reader<ObjectRow[]>`
          select ${columns} from storage.objects where bucket_id = ${bucket} and name = ${name}`;
        return row;
      };
      // No policy binds the service, so it needs no transaction of its own role: every completion reads its file here.
      return actor.role === "service_role" ? await read(sql) : await as(actor, read);
    },

    async findPublic(bucket, name) {
      const [row] = await sql<ObjectRow[]>`
        select ${columns} from storage.objects
         where bucket_id = ${bucket} and name = ${name} and public.is_readable_file(bucket_id, name)`;
      return row;
    },

    existing: (actor, bucket, names) =>
      as(actor, async (transaction) => {
        const rows = await transaction<{ name: string }[]>`
          select name from storage.objects where bucket_id = ${bucket} and name = any(${names}::text[])`;
        return new Set(rows.map(({ name }) => name));
      }),

    write: (actor, object, rules) =>
      change(actor, async (transaction) => {
        const { bucket, name, version } = object;
        const result = await writeRow(transaction, object, rules);
        const versions = result.replaced ? [version, result.replaced] : [version];
        return {
          result,
          rows: new Map([[result.id, { bucket, name, version }]]),
          contents: versions.map((each) => ({ bucket, version: each })),
        };
      }),

    async checkWrite(actor, bucket, name, rules) {
      const object = {
        bucket,
        name,
        // One of its own, for writers of one version would take turns.
        version: randomUUID(),
        metadata: {},
        userMetadata: undefined,
        ownerId: actor.userId,
      };
      try {
        await as(actor, async (transaction) => {
          await writeRow(transaction, object, rules);
          throw new Undo();
        });
      } catch (error) {
        if (!(error instanceof Undo)) throw error;
      }
    },

    move: (actor, from, to) =>
      change(actor, async (transaction) => {
        const { bucket, name, version } = to;
        const locks = [`${from.bucket_id}/${from.name}`, `${bucket}/${name}`, version];
        // In one order, so that moves do not wait for each other.
        await transaction`
          select pg_advisory_xact_lock(key)
            from (select distinct hashtextextended(text, 0) as key from unnest(${locks}::text[]) as text order by 1) as keys`;
        const [row] = await transaction<{ id: string }[]>`
          update storage.objects
             set bucket_id = ${to.bucket}, name = ${to.name}, version = ${to.version}, updated_at = now()
           where id = ${from.id} and version = ${from.version} and name = ${from.name}
          returning id`;
        const places = [
          { bucket, version },
          ...(from.version === null ? [] : [{ bucket: from.bucket_id, version: from.version }]),
        ];
        return {
          result: row?.id,
          rows: new Map(row && [[row.id, { bucket, name, version }]]),
          contents: from.bucket_id === bucket ? [] : places,
        };
      }),

    remove: (actor, bucket, names) =>
      change(actor, async (transaction) => {
        // Supabase's own schema refuses deletions that do not say that they come from storage.
        await transaction`select set_config('storage.allow_delete_query', 'true', true)`;
        const rows = await transaction<ObjectRow[]>`
          delete from storage.objects where bucket_id = ${bucket} and name = any(${names}::text[])
          returning ${columns}`;
        return {
          result: [...rows],
          rows: new Map(rows.map(({ id }) => [id, null])),
          contents: rows.flatMap(({ version }) => (version === null ? [] : [{ bucket, version }])),
        };
      }),

    statesOf: (versions) =>
      sql.transaction(async (transaction) => {
        // A transaction that names new content holds this lock until it ends, which may be after its client has gone.
        const locks = await transaction<{ version: string; is_free: boolean }[]>`
          select version, pg_try_advisory_xact_lock(hashtextextended(version, 0)) as is_free
            from unnest(${versions}::text[]) as version`;
        // After the locks, so that it sees what was committed under them.
        const rows = await transaction<{ version: string }[]>`
          select version from storage.objects where version = any(${versions}::text[])`;
        const named = new Set(rows.map(({ version }) => version));
        return new Map(
          locks.map(({ version, is_free }): [string, ContentState] => [
            version,
            named.has(version) ? "named" : is_free ? "unnamed" : "open",
          ]),
        );
      }),

    list: (actor, bucket, listing) =>
      as(actor, async (transaction) => await listRows(transaction, bucket, listing)),
  };
}

async function writeRow(
  transaction: Sql,
  { bucket, name, version, metadata, userMetadata, ownerId }: ObjectToWrite,
  { upsert }: WriteRules,
): Promise<{ id: string; replaced?: string }> {
  // Writers of one name take turns, so that each knows which version it replaces: that file is deleted.
  // The lock on the version tells others that a row may name it yet.
  await transaction`
    select pg_advisory_xact_lock(hashtextextended(${`${bucket}/${name}`}, 0)),
           pg_advisory_xact_lock(hashtextextended(${version}, 0))`;
  const replacing = upsert
    ? fragment`
        on conflict (bucket_id, name) do update
           set version = excluded.version, metadata = excluded.metadata, user_metadata = excluded.user_metadata,
               owner = excluded.owner, owner_id = excluded.owner_id, updated_at = now()`
    : fragment``;
  const [row] = await transaction<{ id: string; replaced: string | null }[]>`
    insert into storage.objects (bucket_id, name, owner, owner_id, version, metadata, user_metadata)
    values (${bucket}, ${name}, ${ownerId ?? null}, ${ownerId ?? null}, ${version},
            ${transaction.json(metadata as never)}, ${userMetadata ? transaction.json(userMetadata as never) : null})
    ${replacing}
    returning id, (
      select before.version from storage.objects as before where before.bucket_id = ${bucket} and before.name = ${name}
    ) as replaced`;
  if (!row) throw new Error("the row of an object was not written");
  return { id: row.id, ...(row.replaced ? { replaced: row.replaced } : {}) };
}

const columns = fragment`
    id, bucket_id, name, owner, owner_id, version, metadata, user_metadata,
    created_at, updated_at, last_accessed_at`;

/** One level of a folder: its files, and its subfolders as entries without an id. */
async function listRows(
  transaction: Sql,
  bucket: string,
  { prefix, limit, offset, search, column, order }: Listing,
): Promise<Record<string, unknown>[]> {
  const direction = order === "asc" ? fragment`asc` : fragment`desc`;
  // By name, folders stand among files; by time, which they have none of, before them.
  const sorting =
    column === "name"
      ? fragment`name collate "C" ${direction}`
      : fragment`id is not null, ${identifier(column)} ${direction}, name collate "C"`;
  return await transaction<Record<string, unknown>[]>`
    with below as (
      select substr(name, length(${prefix}) + 1) as rest, id, created_at, updated_at, last_accessed_at, metadata
        from storage.objects
       where bucket_id = ${bucket} and starts_with(name, ${prefix})
    ), entries as (
      select rest as name, id, created_at, updated_at, last_accessed_at, metadata
        from below where strpos(rest, '/') = 0
      union all
      select distinct split_part(rest, '/', 1), null::uuid, null::timestamptz, null::timestamptz, null::timestamptz, null::jsonb
        from below where strpos(rest, '/') > 0
    )
    select * from entries where starts_with(lower(name), lower(${search}))
     order by ${sorting} limit ${limit} offset ${offset}`;
}

/** PostgreSQL's refusals in storage's words; anything else stays what it is. */
function refusal(error: unknown): unknown {
  const code = codeOf(error);
  if (code === "42501" && constraintOf(error) === "keep_finished_files") {
    return new StorageError("ResourceLocked", undefined, { cause: error });
  }
  if (code === "42501" && !isRoleFault(error))
    return new StorageError("AccessDenied", undefined, { cause: error });
  if (code === "23505") return new StorageError("ResourceAlreadyExists", undefined, { cause: error });
  // Text that the database cannot hold, in metadata.
  if (code === "22P05" || code === "22021")
    return new StorageError("InvalidRequest", undefined, { cause: error });
  return error;
}

function constraintOf(error: unknown): unknown {
  return typeof error === "object" && error !== null && "constraint" in error ? error.constraint : undefined;
}
