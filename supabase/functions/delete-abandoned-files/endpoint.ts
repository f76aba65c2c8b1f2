import { z } from "zod";
import { endpoint, json } from "../_shared/http/endpoint.ts";
import { deleteAbandonedFiles } from "../_shared/media/delete-abandoned-files.ts";

/** Well within what an Edge Function may take. */
const forMilliseconds = 40_000;

/** 200 how many were deleted · 503 storage */
export const deleteAbandonedFilesEndpoint = endpoint({
  name: "delete-abandoned-files",
  summary: "Deletes the files of runs that ended without completing. Timers call it; safe to repeat.",
  callers: ["service"],
  body: z.object({}),
  bodyOptional: true,
  requestsPerMinute: 60,
  answers: {
    200: {
      description: "What this call deleted.",
      schema: z.object({
        deleted: z.int(),
        more: z.boolean().describe("more files are due: the time was used up"),
      }),
    },
  },
  errors: ["storage_unavailable"],
  async run({ database, storage }) {
    const end = Date.now() + forMilliseconds;
    return json(200, await deleteAbandonedFiles({ database, storage }, () => Date.now() >= end));
  },
});
