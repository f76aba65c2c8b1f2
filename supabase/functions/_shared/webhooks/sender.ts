import { exchange } from "../outgoing/exchange.ts";
import { InvalidAnswer, retryAfterOf } from "../outgoing/head.ts";
import { findTarget, type TargetPolicy, TargetRefused } from "../outgoing/target.ts";
import { signatureHeaders } from "./signature.ts";

/** A message on its way, as `claim_webhook_deliveries` gives it. */
export interface ClaimedDelivery {
  /** Also the `webhook-id`. */
  delivery_id: string;
  claim_id: string;
  endpoint_id: string;
  url: string;
  attempt: number;
  payload: string;
  /** The current one first. */
  secrets: string[];
}

export const sendErrors = [
  "target_refused",
  "timeout",
  "connection_failed",
  "tls_failed",
  "invalid_answer",
] as const;

/** What came of an attempt: a status, or why there is none. */
export interface Outcome {
  statusCode?: number | undefined;
  error?: (typeof sendErrors)[number] | undefined;
  retryAfterSeconds?: number | undefined;
  durationMs: number;
}

export interface WebhookSender {
  /** Why nothing would be sent to a URL; undefined when it would. */
  refusalOf(url: string): Promise<string | undefined>;
  /** One attempt, the address checked anew. Never throws: whatever happens is the outcome. */
  send(delivery: ClaimedDelivery): Promise<Outcome>;
}

export interface SenderOptions extends TargetPolicy {
  timeoutMilliseconds?: number;
}

export function createWebhookSender({
  timeoutMilliseconds = 15_000,
  ...policy
}: SenderOptions): WebhookSender {
  return {
    async refusalOf(url) {
      try {
        await findTarget(url, policy);
        return undefined;
      } catch (error) {
        if (error instanceof TargetRefused) return error.message;
        throw error;
      }
    },
    async send({ delivery_id: id, url, payload, secrets }) {
      const begun = performance.now();
      const since = () => Math.round(performance.now() - begun);
      const signal = AbortSignal.timeout(timeoutMilliseconds);
      try {
        const target = await findTarget(url, policy);
        const headers = {
          "content-type": "application/json",
          "user-agent": "Darkroom-Webhooks/1.0",
          ...signatureHeaders(secrets, { id, payload, at: new Date() }),
        };
        // The body is never read.
        const { head } = await exchange(target, { method: "POST", headers, body: payload }, { signal });
        return { statusCode: head.statusCode, retryAfterSeconds: retryAfterOf(head), durationMs: since() };
      } catch (error) {
        return { error: classOf(error, signal), durationMs: since() };
      }
    },
  };
}

/** A class alone: what a connection said about the inside of its network is nobody's to read. */
function classOf(error: unknown, signal: AbortSignal): Outcome["error"] {
  if (error instanceof TargetRefused) return "target_refused";
  if (signal.aborted) return "timeout";
  if (error instanceof InvalidAnswer) return "invalid_answer";
  const text = error instanceof Error ? `${String((error as { code?: unknown }).code)} ${error.message}` : "";
  return /tls|ssl|cert|peer|self.signed|altname/i.test(text) ? "tls_failed" : "connection_failed";
}
