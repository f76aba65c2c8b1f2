import type { Medium } from "./media-file.ts";
import type { Database } from "../database/database.ts";
import { type Caller, forUser } from "../http/endpoint.ts";

/** A run that a worker reports on; without attempt and worker, status and kind of caller are the fence. */
export interface ReportedRun {
  taskId: string;
  workerId: string | undefined;
  attempt: number | undefined;
}

/** What completing a task answers, the first time and every time after. */
export interface Completion {
  success: true;
  task_id: string;
  /** Failed where every output was made black by a provider's safety checker. */
  status: "Complete" | "Failed";
  /** Where the file is; null when the output is text. */
  public_url: string | null;
  /** What the task says of its output: that URL, or a text. */
  output_location: string | null;
  thumbnail_url: string | null;
  message: string;
}

/** Where a running task's files go, in the order of their names; or what completed it before. */
export type PreparedOutput =
  | { completed: Completion }
  | {
      /** Secret until the task is complete: only the run's worker may learn them. */
      paths: string[];
      /** The kinds of file that the task makes; null: any. */
      media: Medium[] | null;
    };

/** Names are taken as they are: make them safe by `outputName`. `forUpload`: URLs will be signed that write the files. */
export async function prepareOutput(
  database: Pick<Database, "call">,
  caller: Caller,
  { taskId, workerId, attempt }: ReportedRun,
  { fileNames = [], forUpload = false }: { fileNames?: readonly string[]; forUpload?: boolean } = {},
): Promise<PreparedOutput> {
  return await database.call("prepare_output", {
    for_user: forUser(caller),
    for_task: taskId,
    for_worker: workerId,
    for_attempt: attempt,
    file_names: [...fileNames],
    for_upload: forUpload,
  });
}
