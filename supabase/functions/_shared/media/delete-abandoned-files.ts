import type { Database } from "../database/database.ts";
import type { Storage } from "./storage.ts";

const filesAtOnce = 500;

interface Abandoned {
  paths: string[];
  checked: number;
}

export interface DeletedFiles {
  deleted: number;
  /** Whether more are due: the time was used up. */
  more: boolean;
}

/**
 * Deletes the files of runs that ended without delivering them. Any number of callers at once, killed at any moment: a file that was
 * taken and not deleted is taken again. @throws AppError `storage_unavailable`
 */
export async function deleteAbandonedFiles(
  { database, storage }: { database: Pick<Database, "call">; storage: Pick<Storage, "remove"> },
  isOver: () => boolean,
): Promise<DeletedFiles> {
  for (let deleted = 0; ;) {
    const { paths, checked } = await database.call<Abandoned>("take_abandoned_files", {
      at_most: filesAtOnce,
    });
    await storage.remove(paths);
    await database.call<null>("forget_abandoned_files", { paths });
    deleted += paths.length;
    if (checked < filesAtOnce) return { deleted, more: false };
    if (isOver()) return { deleted, more: true };
  }
}
