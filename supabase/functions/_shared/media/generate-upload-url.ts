import type { Database } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import type { Caller } from "../http/endpoint.ts";
import { outputName } from "./output-name.ts";
import { prepareOutput, type ReportedRun } from "./prepare-output.ts";
import type { Storage } from "./storage.ts";

const lifetimeMilliseconds = 2 * 60 * 60 * 1000;

export interface UploadUrl {
  upload_url: string;
  storage_path: string;
  token: string;
  expires_at: string;
  thumbnail_upload_url?: string;
  thumbnail_storage_path?: string;
  thumbnail_token?: string;
}

/** URLs that take a running task's output, and its thumbnail, without further credentials. */
export async function generateUploadUrl(
  { database, storage }: { database: Pick<Database, "call">; storage: Storage },
  caller: Caller,
  run: ReportedRun,
  { filename, withThumbnail }: { filename: string; withThumbnail: boolean },
): Promise<UploadUrl> {
  const thumbnailName = `thumbnails/thumb_${Date.now()}_${randomName()}.jpg`;
  const names = [outputName(filename), ...(withThumbnail ? [thumbnailName] : [])];
  const prepared = await prepareOutput(database, caller, run, { fileNames: names, forUpload: true });
  if ("completed" in prepared) {
    throw new AppError("task_not_running", { task_id: run.taskId, current_status: "Complete" });
  }
  const [path, thumbnailPath] = prepared.paths;
  if (path === undefined) throw new Error("no path was issued for an output");
  const [output, thumbnail] = await Promise.all([
    storage.signUpload(path),
    thumbnailPath === undefined ? undefined : storage.signUpload(thumbnailPath),
  ]);
  return {
    upload_url: output.url,
    storage_path: path,
    token: output.token,
    expires_at: new Date(Date.now() + lifetimeMilliseconds).toISOString(),
    ...(thumbnail && {
      thumbnail_upload_url: thumbnail.url,
      thumbnail_storage_path: thumbnailPath,
      thumbnail_token: thumbnail.token,
    }),
  };
}

function randomName(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 6);
}
