import { aiPromptEndpoint } from "../../supabase/functions/ai-prompt/endpoint.ts";
import { aiVoicePromptEndpoint } from "../../supabase/functions/ai-voice-prompt/endpoint.ts";
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
import { singleImageGenerateEndpoint } from "../../supabase/functions/single-image-generate/endpoint.ts";
import { steerableMotionEndpoint } from "../../supabase/functions/steerable-motion/endpoint.ts";
import { tasksListEndpoint } from "../../supabase/functions/tasks-list/endpoint.ts";
import { updateShotPairPromptsEndpoint } from "../../supabase/functions/update-shot-pair-prompts/endpoint.ts";
import { updateTaskStatusEndpoint } from "../../supabase/functions/update-task-status/endpoint.ts";
import { updateWorkerModelEndpoint } from "../../supabase/functions/update-worker-model/endpoint.ts";
import { createWebhookEndpoint } from "../../supabase/functions/create-webhook/endpoint.ts";
import { listWebhooksEndpoint } from "../../supabase/functions/list-webhooks/endpoint.ts";
import { updateWebhookEndpoint } from "../../supabase/functions/update-webhook/endpoint.ts";
import { deleteWebhookEndpoint } from "../../supabase/functions/delete-webhook/endpoint.ts";
import { rotateWebhookSecretEndpoint } from "../../supabase/functions/rotate-webhook-secret/endpoint.ts";
import { listWebhookDeliveriesEndpoint } from "../../supabase/functions/list-webhook-deliveries/endpoint.ts";
import { redeliverWebhookEndpoint } from "../../supabase/functions/redeliver-webhook/endpoint.ts";
import { testWebhookEndpoint } from "../../supabase/functions/test-webhook/endpoint.ts";
import { deliverWebhooksEndpoint } from "../../supabase/functions/deliver-webhooks/endpoint.ts";
import { providerWithdrawalsEndpoint } from "../../supabase/functions/provider-withdrawals/endpoint.ts";
import { withdrawProviderJobsEndpoint } from "../../supabase/functions/withdraw-provider-jobs/endpoint.ts";
import { queuePositionEndpoint } from "../../supabase/functions/queue-position/endpoint.ts";
import { scaleEndpoint } from "../../supabase/functions/scale/endpoint.ts";
import { taskCountsEndpoint } from "../../supabase/functions/task-counts/endpoint.ts";
import { workerHeartbeatEndpoint } from "../../supabase/functions/worker-heartbeat/endpoint.ts";
import { stripeCheckoutEndpoint } from "../../supabase/functions/stripe-checkout/endpoint.ts";
import { setupAutoTopupEndpoint } from "../../supabase/functions/setup-auto-topup/endpoint.ts";
import { triggerAutoTopupEndpoint } from "../../supabase/functions/trigger-auto-topup/endpoint.ts";
import { publishPriceEndpoint } from "../../supabase/functions/publish-price/endpoint.ts";
import { publishProviderPriceEndpoint } from "../../supabase/functions/publish-provider-price/endpoint.ts";
import { listProviderPricesEndpoint } from "../../supabase/functions/list-provider-prices/endpoint.ts";
import { providerMarginEndpoint } from "../../supabase/functions/provider-margin/endpoint.ts";
import { listPricesEndpoint } from "../../supabase/functions/list-prices/endpoint.ts";
import { stripeWebhookEndpoint } from "../../supabase/functions/stripe-webhook/endpoint.ts";
import { falWebhookEndpoint } from "../../supabase/functions/fal-webhook/endpoint.ts";
import { confirmCheckoutEndpoint } from "../../supabase/functions/confirm-checkout/endpoint.ts";
import { listBillingAlertsEndpoint } from "../../supabase/functions/list-billing-alerts/endpoint.ts";
import { resolveBillingAlertEndpoint } from "../../supabase/functions/resolve-billing-alert/endpoint.ts";
import { creditBalanceEndpoint } from "../../supabase/functions/credit-balance/endpoint.ts";
import { creditStatementEndpoint } from "../../supabase/functions/credit-statement/endpoint.ts";
import { getReceiptEndpoint } from "../../supabase/functions/get-receipt/endpoint.ts";
import { createPromoCodeEndpoint } from "../../supabase/functions/create-promo-code/endpoint.ts";
import { redeemPromoCodeEndpoint } from "../../supabase/functions/redeem-promo-code/endpoint.ts";
import { setSpendCapEndpoint } from "../../supabase/functions/set-spend-cap/endpoint.ts";
import { deleteAbandonedFilesEndpoint } from "../../supabase/functions/delete-abandoned-files/endpoint.ts";
import { runDoctorEndpoint } from "../../supabase/functions/run-doctor/endpoint.ts";
import { reconcilePaymentsEndpoint } from "../../supabase/functions/reconcile-payments/endpoint.ts";
import { runProviderTasksEndpoint } from "../../supabase/functions/run-provider-tasks/endpoint.ts";
import type { Endpoint } from "../../supabase/functions/_shared/http/endpoint.ts";

/** Every endpoint, in the order of the documentation; a rule test holds it against the folders. */
export const endpoints: readonly Endpoint[] = [
  createTaskEndpoint,
  singleImageGenerateEndpoint,
  steerableMotionEndpoint,
  aiPromptEndpoint,
  aiVoicePromptEndpoint,
  calculateTaskCostEndpoint,
  getTaskStatusEndpoint,
  queuePositionEndpoint,
  taskCountsEndpoint,
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
  updateShotPairPromptsEndpoint,
  scaleEndpoint,
  workerHeartbeatEndpoint,
  falWebhookEndpoint,
  grantCreditsEndpoint,
  stripeCheckoutEndpoint,
  setupAutoTopupEndpoint,
  triggerAutoTopupEndpoint,
  resolveBillingAlertEndpoint,
  reconcilePaymentsEndpoint,
  deleteAbandonedFilesEndpoint,
  listBillingAlertsEndpoint,
  confirmCheckoutEndpoint,
  stripeWebhookEndpoint,
  publishPriceEndpoint,
  listPricesEndpoint,
  publishProviderPriceEndpoint,
  listProviderPricesEndpoint,
  providerMarginEndpoint,
  creditBalanceEndpoint,
  creditStatementEndpoint,
  getReceiptEndpoint,
  createPromoCodeEndpoint,
  redeemPromoCodeEndpoint,
  setSpendCapEndpoint,
  runDoctorEndpoint,
  generatePatEndpoint,
  listPatsEndpoint,
  revokePatEndpoint,
  createWebhookEndpoint,
  listWebhooksEndpoint,
  updateWebhookEndpoint,
  deleteWebhookEndpoint,
  rotateWebhookSecretEndpoint,
  listWebhookDeliveriesEndpoint,
  redeliverWebhookEndpoint,
  testWebhookEndpoint,
  deliverWebhooksEndpoint,
  providerWithdrawalsEndpoint,
  withdrawProviderJobsEndpoint,
  runProviderTasksEndpoint,
];
