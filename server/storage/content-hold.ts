import path from "node:path";
import type { Sql } from "../../supabase/functions/_shared/database/sql.ts";

/**
 * A backup holds this advisory lock from before its snapshot until its files are copied. Meanwhile hosts delete no
 * content: the snapshot may name it.
 */
export const contentLock = 4_215_871_094;

/** Content that was deleted while a backup ran. No bucket can have this name. */
export const removedFolder = ".removed";

export function placeOfRemoved(directory: string, key: string): string {
  return path.join(directory, removedFolder, key);
}

/**
 * Call it after the row has gone: a backup that begins later does not see that row, so its content may be deleted at
 * once. In a transaction, no backup begins before it ends, if the answer is false.
 */
export async function isContentHeld(sql: Sql): Promise<boolean> {
  const [row] = await sql<{ is_free: boolean }[]>`
    select pg_try_advisory_xact_lock_shared(${contentLock}) as is_free`;
  return row?.is_free !== true;
}
