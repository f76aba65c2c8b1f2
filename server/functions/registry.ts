import { calculateTaskCostEndpoint } from "../../supabase/functions/calculate-task-cost/endpoint.ts";
import { claimNextTaskEndpoint } from "../../supabase/functions/claim-next-task/endpoint.ts";
import { completeTaskEndpoint } from "../../supabase/functions/complete_task/endpoint.ts";
import { createTaskEndpoint } from "../../supabase/functions/create-task/endpoint.ts";
import { generatePatEndpoint } from "../../supabase/functions/generate-pat/endpoint.ts";
import { generateUploadUrlEndpoint } from "../../supabase/functions/generate-upload-url/endpoint.ts";
import { getCompletedSegmentsEndpoint } from "../../supabase/functions/get-completed-segments/endpoint.ts";
import { getOrchestratorChildrenEndpoint } from "../../supabase/functions/get-orchestrator-children/endpoint.ts";
import { getPredecessorOutputEndpoint } from "../../supabase/functions/get-predecessor-output/endpoint.ts";
import { getTaskOutputEndpoint } from "../../supabase/functions/get-task-output/endpoint.ts";
import { getTaskStatusEndpoint } from "../../supabase/functions/get-task-status/endpoint.ts";
import { grantCreditsEndpoint } from "../../supabase/functions/grant-credits/endpoint.ts";
import { listPatsEndpoint } from "../../supabase/functions/list-pats/endpoint.ts";
import { revokePatEndpoint } from "../../supabase/functions/revoke-pat/endpoint.ts";
import { tasksListEndpoint } from "../../supabase/functions/tasks-list/endpoint.ts";
import { updateTaskStatusEndpoint } from "../../supabase/functions/update-task-status/endpoint.ts";
import { updateWorkerModelEndpoint } from "../../supabase/functions/update-worker-model/endpoint.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";

/** Every endpoint, in the order of the documentation; a rule test holds it against the folders. */
export const endpoints: readonly Endpoint[] = [
  createTaskEndpoint,
  calculateTaskCostEndpoint,
  getTaskStatusEndpoint,
  getTaskOutputEndpoint,
  getPredecessorOutputEndpoint,
  getOrchestratorChildrenEndpoint,
  getCompletedSegmentsEndpoint,
  tasksListEndpoint,
  claimNextTaskEndpoint,
  generateUploadUrlEndpoint,
  completeTaskEndpoint,
  updateTaskStatusEndpoint,
  updateWorkerModelEndpoint,
  grantCreditsEndpoint,
  generatePatEndpoint,
  listPatsEndpoint,
  revokePatEndpoint,
];
