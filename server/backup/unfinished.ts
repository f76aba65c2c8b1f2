import { access, rm, writeFile } from "node:fs/promises";
import path from "node:path";

/** Stands in a data folder from the first to the last moment of a restore. */
export const markName = "restore-in-progress";

export async function markUnfinished(dataDirectory: string, from: string): Promise<void> {
  await writeFile(
    path.join(dataDirectory, markName),
    `A restore from ${from} began here and has not ended.\n`,
    {
      mode: 0o600,
      flag: "wx",
      flush: true,
    },
  );
}

export async function unmarkUnfinished(dataDirectory: string): Promise<void> {
  await rm(path.join(dataDirectory, markName));
}

/** @throws where a restore was interrupted: what is there looks whole, and is not */
export async function refuseUnfinished(dataDirectory: string): Promise<void> {
  const isMarked = await access(path.join(dataDirectory, markName)).then(
    () => true,
    () => false,
  );
  if (!isMarked) return;
  throw new Error(
    `A restore into ${dataDirectory} did not end: delete that folder, and the database if DATABASE_URL is set, and restore again.`,
  );
}
