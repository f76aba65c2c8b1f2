import { type Database, json } from "../database/database.ts";
import { AppError } from "../errors/app-error.ts";
import { type Caller, forUser } from "../http/endpoint.ts";
import type { WebhookSender } from "./sender.ts";
import { newSecret } from "./signature.ts";

type Calls = Pick<Database, "call">;
type Row = Record<string, unknown>;

export interface NewWebhook {
  projectId: string;
  url: string;
  events: readonly string[];
  description: string | undefined;
}

/** Registers an endpoint. Its secret is in this answer and in no later one. */
export async function createWebhook(
  database: Calls,
  sender: WebhookSender,
  caller: Caller,
  { projectId, url, events, description }: NewWebhook,
): Promise<Row> {
  await checkUrl(sender, url);
  return await database.call<Row>("create_webhook", {
    for_user: forUser(caller),
    for_project: projectId,
    url,
    events,
    secret: newSecret(),
    description,
  });
}

export async function listWebhooks(database: Calls, caller: Caller, projectId: string): Promise<Row> {
  return await database.call<Row>("list_webhooks", { for_user: forUser(caller), for_project: projectId });
}

export interface WebhookChanges {
  url?: string | undefined;
  description?: string | null | undefined;
  events?: readonly string[] | undefined;
  enabled?: boolean | undefined;
}

export async function updateWebhook(
  database: Calls,
  sender: WebhookSender,
  caller: Caller,
  webhookId: string,
  changes: WebhookChanges,
): Promise<Row> {
  if (changes.url !== undefined) await checkUrl(sender, changes.url);
  return await database.call<Row>("update_webhook", {
    for_user: forUser(caller),
    for_webhook: webhookId,
    changes: json(changes),
  });
}

export async function deleteWebhook(database: Calls, caller: Caller, webhookId: string): Promise<Row> {
  return await database.call<Row>("delete_webhook", { for_user: forUser(caller), for_webhook: webhookId });
}

/** Another secret, shown in this answer alone; the one before signs beside it for the overlap. */
export async function rotateSecret(
  database: Calls,
  caller: Caller,
  webhookId: string,
  overlapSeconds: number | undefined,
): Promise<Row> {
  return await database.call<Row>("rotate_webhook_secret", {
    for_user: forUser(caller),
    for_webhook: webhookId,
    new_secret: newSecret(),
    overlap_seconds: overlapSeconds,
  });
}

export interface DeliveriesPage {
  state: string | undefined;
  beforeSeq: number | undefined;
  pageSize: number | undefined;
}

export async function listDeliveries(
  database: Calls,
  caller: Caller,
  webhookId: string,
  { state, beforeSeq, pageSize }: DeliveriesPage,
): Promise<Row> {
  return await database.call<Row>("list_webhook_deliveries", {
    for_user: forUser(caller),
    for_webhook: webhookId,
    for_state: state,
    before_seq: beforeSeq,
    page_size: pageSize,
  });
}

/** One delivery, or all that failed of events since a time. */
export async function redeliverWebhook(
  database: Calls,
  caller: Caller,
  webhookId: string,
  { deliveryId, failedSince }: { deliveryId: string | undefined; failedSince: string | undefined },
): Promise<Row> {
  return await database.call<Row>("redeliver_webhook", {
    for_user: forUser(caller),
    for_webhook: webhookId,
    for_delivery: deliveryId,
    failed_since: failedSince,
  });
}

export async function testWebhook(database: Calls, caller: Caller, webhookId: string): Promise<Row> {
  return await database.call<Row>("test_webhook", { for_user: forUser(caller), for_webhook: webhookId });
}

async function checkUrl(sender: WebhookSender, url: string): Promise<void> {
  const reason = await sender.refusalOf(url);
  if (reason !== undefined) throw new AppError("webhook_url_refused", { reason });
}
