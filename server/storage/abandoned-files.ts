import type { Logger } from "pino";
import type { Database } from "../../supabase/functions/_shared/database/database.ts";
import { deleteAbandonedFiles } from "../../supabase/functions/_shared/media/delete-abandoned-files.ts";
import type { Storage } from "../../supabase/functions/_shared/media/storage.ts";

const everyMilliseconds = 60_000;

/** Every minute, on every host: deletes the files of runs that ended without completing. */
export function startAbandonedFileDeletion(dependencies: {
  database: Pick<Database, "call">;
  storage: Pick<Storage, "remove">;
  log: Logger;
}): { stop(): Promise<void> } {
  const { log } = dependencies;
  let stopping = false;
  let running: Promise<void> | undefined;
  async function run(): Promise<void> {
    try {
      const { deleted } = await deleteAbandonedFiles(dependencies, () => stopping);
      if (deleted > 0)
        log.info({ count: deleted }, "files of runs that ended without completing were deleted");
    } catch (error) {
      log.warn({ err: error }, "files of ended runs were not deleted; they are tried again");
    }
  }
  const timer = setInterval(() => {
    running ??= run().finally(() => (running = undefined));
  }, everyMilliseconds);
  timer.unref();
  return {
    async stop() {
      stopping = true;
      clearInterval(timer);
      await running;
    },
  };
}
